import { randomBytes } from 'node:crypto'
import { text } from 'node:stream/consumers'
import { parseArgs } from 'node:util'
import { insertAdminAction } from '../../db/audit/admin-actions.ts'
import type { Database } from '../../db/connection/connect.ts'
import { eraseUser } from '../admin/erasure.ts'
import { createAccounts } from '../users/accounts.ts'
import type { Config } from '../config/config.ts'
import { canonicalEmail } from '../users/email.ts'
import { createPasswords, passwordProblem } from '../users/passwords.ts'
import { disableUser, enableUser } from '../admin/users.ts'
import type { Role, User } from '../users/directory.ts'
import { emailOf, exactlyOne } from './arguments.ts'
import { UsageError, type Command } from './command.ts'
import { withDatabase } from './database.ts'
import { pluralize } from './output.ts'

export const userCreate: Command = {
  usage: '--email E [--role user|admin] [--password-stdin]',
  summary: 'creates a user; prints the user id as the last line',
  async run(args, config) {
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
    const password = values['password-stdin'] ? await passwordFromStdin(config) : newPassword()
    const user = await createUser(config, { email, password, role })
    if (!values['password-stdin']) console.log(`password: ${password}`)
    console.log(user.id)
    return 0
  },
}

export const userDisable: Command = {
  usage: 'E',
  summary: 'ends all sessions of the user and blocks sign-in',
  async run(args, config) {
    await changeUser(config, args, (database, user) => setDisabled(database, user, true))
    return 0
  },
}

export const userEnable: Command = {
  usage: 'E',
  summary: 'lets the user sign in again',
  async run(args, config) {
    await changeUser(config, args, (database, user) => setDisabled(database, user, false))
    return 0
  },
}

export const userErase: Command = {
  usage: 'E',
  summary: 'ends all sessions of the user and erases their personal data; cannot be undone',
  async run(args, config) {
    const { positionals } = parseArgs({ args: [...args], allowPositionals: true, options: {} })
    const email = emailOf(exactlyOne(positionals, 'e-mail address'))
    // As the owner: the service may not change what happened, not even this.
    return withDatabase(config, {}, async (database) => {
      const users = createAccounts(database, createPasswords())
      const user = await users.findByEmail(email)
      if (user === null) throw new Error(`user not found: ${email}`)
      const deps = { sql: database.sql, logSecurityEvent: () => {}, accounts: users.accounts }
      const by = { actorUserId: null, caller: { ip: null, userAgent: null } }
      const { ended, erased } = await eraseUser(deps, user.id, by)
      console.log(user.id)
      console.error(`${pluralize(ended, 'session')} ended, ${pluralize(erased, 'row')} erased`)
      console.error(
        'logs, backups and earlier exports are not changed: they may still hold personal data',
      )
      return 0
    })
  },
}

async function setDisabled(database: Database, user: User, disabled: boolean): Promise<void> {
  const users = createAccounts(database, createPasswords())
  const deps = { sql: database.sql, logSecurityEvent: () => {}, accounts: users.accounts }
  if (disabled) await disableUser(deps, user.id, { actorUserId: null, caller: commandLine })
  else await enableUser(deps, user.id, { actorUserId: null })
}

async function changeUser(
  config: Config,
  args: readonly string[],
  change: (database: Database, user: User) => Promise<void>,
): Promise<void> {
  const { positionals } = parseArgs({ args: [...args], allowPositionals: true, options: {} })
  const [address, ...more] = positionals
  if (address === undefined || more.length > 0) throw new UsageError('expected one e-mail address')
  const email = canonicalEmail(address)
  await withDatabase(config, { role: 'token_ledger_app' }, async (database) => {
    const users = createAccounts(database, createPasswords())
    const user = email === null ? null : await users.findByEmail(email)
    if (user === null) throw new Error(`user not found: ${address}`)
    await change(database, user)
  })
}

async function createUser(
  config: Config,
  account: { email: string; password: string; role: Role },
): Promise<User> {
  return withDatabase(config, { role: 'token_ledger_app' }, (database) =>
    createAccounts(database, createPasswords()).accounts.create(account, (within, user) =>
      insertAdminAction(within, {
        action: 'user_created',
        actorUserId: null,
        targetUserId: user.id,
        role: user.role,
      }),
    ),
  )
}

async function passwordFromStdin(config: Config): Promise<string> {
  const password = (await text(process.stdin)).replace(/\r?\n$/, '')
  const problem = passwordProblem(password, config.passwordMinLength)
  if (problem !== null) throw new UsageError(problem)
  return password
}

function newPassword(): string {
  return randomBytes(18).toString('base64url')
}

const commandLine = { ip: null, userAgent: 'token-ledger command line' }
