#!/usr/bin/env node
import { codeOf } from '../../db/connection/errors.ts'
import { CannotWrite } from '../audit/write-export.ts'
import { ConfigError, loadConfig, loadConfigWithoutSecret, type Config } from '../config/config.ts'
import { hideLibpqVariables } from '../config/libpq-variables.ts'
import { AuthError } from '../errors.ts'
import { ProofError } from '../evidence/merkle.ts'
import { NoteError } from '../evidence/signed-note.ts'
import { ledgerArchive } from './archive.ts'
import { UsageError, type Commands } from './command.ts'
import { help, nameIn, problem } from './help.ts'
import { keysRotate } from './keys.ts'
import { ledgerExport, ledgerVerify, ledgerVerifyExport } from './ledger.ts'
import { keysLog, ledgerCheckpoint, ledgerProve, ledgerPublish, ledgerVerifyProof } from './log.ts'
import { migrateCommand } from './migrate.ts'
import { ledgerRestored } from './restored.ts'
import { sessionsInspect, sessionsList, sessionsRevoke, sessionsRevokeUser } from './sessions.ts'
import { sqlCommand } from './sql.ts'
import { userCreate, userDisable, userEnable, userErase } from './user.ts'

/** Exit codes: 0 ok, 1 the check found a problem, 2 the command could not be carried out, 3 wrong usage. */
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
  'ledger checkpoint': ledgerCheckpoint,
  'ledger publish': ledgerPublish,
  'ledger prove': ledgerProve,
  'ledger verify-proof': ledgerVerifyProof,
  'ledger archive': ledgerArchive,
  'ledger restored': ledgerRestored,
  'keys rotate': keysRotate,
  'keys log': keysLog,
  sql: sqlCommand,
}

process.stdout.on('error', (error) => process.exit(exitCodeForLostOutput(error)))
// A closed stderr loses messages only: the command goes on.
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
    return await command.run(words.slice(name.split(' ').length), readConfig)
  } catch (error) {
    return exitCodeFor(error, `token-ledger ${name} ${command.usage}`.trimEnd())
  }
}

function readConfig(needs?: 'secret'): Config {
  const config = needs === 'secret' ? loadConfig(process.env) : loadConfigWithoutSecret(process.env)
  hideLibpqVariables(process.env)
  return config
}

/**
 * stdout could not be written completely. A pipe closed by its reader is silent. Exit code 1 (problem found)
 * is kept, otherwise 2.
 */
function exitCodeForLostOutput(error: Error): number {
  const isClosedByReader = codeOf(error) === 'EPIPE'
  if (!isClosedByReader) console.error(new CannotWrite('to stdout', error).message)
  return process.exitCode === 1 ? 1 : 2
}

function exitCodeFor(error: unknown, usageLine: string): number {
  if (error instanceof UsageError || isParseArgsError(error)) {
    console.error(`${error.message}\nusage: ${usageLine}`)
    return 3
  }
  // The file is not what it should be, or not of this log.
  if (error instanceof NoteError || error instanceof ProofError) {
    console.error(error.message)
    return 1
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
