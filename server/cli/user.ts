import { text } from 'node:stream/consumers'
import { parseArgs } from 'node:util'
import { ledgerIdOf } from '../../db/subjects.ts'
import { eraseUser } from '../admin/erasure.ts'
import { createUser, disableUser, enableUser, newPassword } from '../admin/users.ts'
import type { Config } from '../config/config.ts'
import type { User } from '../users/directory.ts'
import { canonicalEmail } from '../users/email.ts'
import { passwordProblem } from '../users/passwords.ts'
import { actDeps, commandLine, findUser, subjectOf } from './acts.ts'
import { exactlyOne, personArgument } from './arguments.ts'
import { UsageError, type Command, type ReadConfig } from './command.ts'
import { asService, withDatabase } from './database.ts'
import { pluralize } from './output.ts'

export const userCreate: Command = {
  usage: '--email E [--role user|admin] [--password-stdin]',
  summary: 'creates a user; prints the user id as the last line',
  async run(args, readConfig) {
    const { values } = parseArgs({
      args: [...args],
      options: {
        email: { type: 'string' },
        role: { type: 'string', default: 'user' },
        'password-stdin': { type: 'boolean', default: false },
      },
    })
    const email = canonicalEmail(values.email ?? '')
    if (email === null) throw new UsageError('--email: not a valid e-mail address')
    const { role } = values
    if (role !== 'user' && role !== 'admin') throw new UsageError('--role: must be user or admin')
    const config = readConfig()
    const isFromStdin = values['password-stdin']
    const password = isFromStdin ? await passwordFromStdin(config, email) : newPassword()
    const user = await withDatabase(config, asService, (database) =>
      createUser(actDeps(database).accounts, { email, password, role }, commandLine),
    )
    if (!isFromStdin) console.log(`password: ${password}`)
    console.log(user.id)
    return 0
  },
}

export const userDisable: Command = {
  usage: 'E',
  summary: 'ends all sessions of the user and blocks sign-in',
  async run(args, readConfig) {
    await changeUser(readConfig, args, async (deps, user) => {
      await disableUser(deps, user.id, commandLine)
    })
    return 0
  },
}

export const userEnable: Command = {
  usage: 'E',
  summary: 'lets the user sign in again',
  async run(args, readConfig) {
    await changeUser(readConfig, args, (deps, user) => enableUser(deps, user.id, commandLine))
    return 0
  },
}

export const userErase: Command = {
  usage: 'E|--user-id ID',
  summary: 'ends all sessions of the user and erases their personal data; cannot be undone',
  async run(args, readConfig) {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { 'user-id': { type: 'string' } },
    })
    const person = personArgument(positionals, values['user-id'])
    // As the owner: the role of the service has no right to change an event.
    const { userId, ended, erased } = await withDatabase(readConfig(), {}, async (database) => {
      const deps = actDeps(database)
      const subject = await subjectOf(deps, person)
      // Events of the erasure carry no caller: it would be erased in the same transaction.
      const by = { ...commandLine, caller: { ip: null, userAgent: null } }
      return { userId: ledgerIdOf(subject), ...(await eraseUser(deps, subject, by)) }
    })
    console.log(userId)
    console.error(`${pluralize(ended, 'session')} ended, ${pluralize(erased, 'row')} erased`)
    console.error(
      'logs, backups and earlier exports are not changed: they may still hold personal data',
    )
    return 0
  },
}

async function changeUser(
  readConfig: ReadConfig,
  args: readonly string[],
  change: (deps: ReturnType<typeof actDeps>, user: User) => Promise<void>,
): Promise<void> {
  const { positionals } = parseArgs({ args: [...args], allowPositionals: true, options: {} })
  const address = exactlyOne(positionals, 'e-mail address')
  await withDatabase(readConfig(), asService, async (database) => {
    const deps = actDeps(database)
    // No account has an address that is not valid: such a user is not found either.
    await change(deps, await findUser(deps, canonicalEmail(address) ?? address))
  })
}

async function passwordFromStdin(config: Config, email: string): Promise<string> {
  const password = (await text(process.stdin)).replace(/\r?\n$/, '')
  const problem = passwordProblem(password, { minLength: config.passwordMinLength, email })
  if (problem !== null) throw new UsageError(problem)
  return password
}
