#!/usr/bin/env node
import { codeOf } from '../../db/connection/errors.ts'
import { ConfigError, loadConfig, loadConfigWithoutSecret, type Config } from '../config/config.ts'
import { AuthError } from '../errors.ts'
import { CannotWrite } from '../audit/write-export.ts'
import { ledgerArchive } from './archive.ts'
import { keysRotate } from './keys.ts'
import { ledgerExport, ledgerVerify, ledgerVerifyExport } from './ledger.ts'
import { migrateCommand } from './migrate.ts'
import { UsageError, type Command, type Commands } from './command.ts'
import { help, nameIn, problem } from './help.ts'
import { sqlCommand } from './sql.ts'
import { sessionsInspect, sessionsList, sessionsRevoke, sessionsRevokeUser } from './sessions.ts'
import { userCreate, userDisable, userEnable, userErase } from './user.ts'

/** Exit codes: 0 ok, 1 the check found a problem, 2 the question could not be answered, 3 wrong usage. */
const commands: Commands = {
  migrate: migrateCommand,
  'user create': userCreate,
  'user disable': userDisable,
  'user enable': userEnable,
  'user erase': userErase,
  'sessions list': sessionsList,
  'sessions inspect': sessionsInspect,
  'sessions revoke': sessionsRevoke,
  'sessions revoke-user': sessionsRevokeUser,
  'ledger verify': ledgerVerify,
  'ledger export': ledgerExport,
  'ledger verify-export': ledgerVerifyExport,
  'ledger archive': ledgerArchive,
  'keys rotate': keysRotate,
  sql: sqlCommand,
}

process.stdout.on('error', (error) => process.exit(exitCodeForLostOutput(error)))
// Talk that nobody hears changes nothing.
process.stderr.on('error', () => {})

process.exitCode = await run(process.argv.slice(2))

async function run(words: readonly string[]): Promise<number> {
  if (words[0] === 'help' || words.some((word) => word === '--help' || word === '-h')) {
    console.log(help(commands, words))
    return 0
  }
  const name = nameIn(commands, words)
  const command = name === undefined ? undefined : commands[name]
  if (name === undefined || command === undefined) {
    console.error(`${problem(commands, words)}\n${help(commands, words)}`)
    return 3
  }
  try {
    const args = words.slice(name.split(' ').length)
    return await ('runAlone' in command
      ? command.runAlone(args)
      : command.run(args, configFor(command)))
  } catch (error) {
    return exitCodeFor(error, `token-ledger ${name} ${command.usage}`.trimEnd())
  }
}

/** Not everything was told. Who stops reading knows that; and a problem that was found stays one. */
function exitCodeForLostOutput(error: Error): number {
  const isByReader = codeOf(error) === 'EPIPE'
  if (!isByReader) console.error(new CannotWrite('to stdout', error).message)
  return process.exitCode === 1 ? 1 : 2
}

function configFor({ needsSecret }: Command): Config {
  return needsSecret ? loadConfig(process.env) : loadConfigWithoutSecret(process.env)
}

function exitCodeFor(error: unknown, usageLine: string): number {
  if (error instanceof UsageError || isParseArgsError(error)) {
    console.error(`${error.message}\nusage: ${usageLine}`)
    return 3
  }
  if (error instanceof ConfigError) {
    console.error(error.message)
    return 3
  }
  if (error instanceof AuthError) console.error(error.extras.problem ?? error.message)
  else console.error(error instanceof Error ? error.message : 'failed')
  return 2
}

function isParseArgsError(error: unknown): error is Error {
  return error instanceof TypeError && codeOf(error).startsWith('ERR_PARSE_ARGS')
}
