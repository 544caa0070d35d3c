import type { Database } from '../../db/connection/connect.ts'
import { isKnownUser, ledgerIdOf, subjectBehind } from '../../db/subjects.ts'
import { createAccounts } from '../users/accounts.ts'
import type { User } from '../users/directory.ts'
import { createPasswords } from '../users/passwords.ts'
import type { Person } from './arguments.ts'
import { printable } from './output.ts'

/** The actor of everything the command line does: it has neither an account nor an address. */
export const commandLine = {
  actorUserId: null,
  caller: { ip: null, userAgent: 'token-ledger command line' },
} as const

/** What acts on sessions and users need. A command writes no security log: its record is in the ledger. */
export function actDeps(database: Database) {
  const users = createAccounts(database, createPasswords())
  return {
    database,
    sql: database.transactions,
    users,
    accounts: users.accounts,
    logSecurityEvent: () => {},
  }
}

/**
 * The user's id, as the user directory has it.
 *
 * @throws {Error} when the ledger knows no such user; it names the subject where the text is the derived id of one
 */
export async function subjectOf(deps: ReturnType<typeof actDeps>, person: Person): Promise<string> {
  if ('email' in person) return (await findUser(deps, person.email)).id
  const { subject } = person
  if (await isKnownUser(deps.database, ledgerIdOf(subject))) return subject
  const meant = await subjectBehind(deps.database, subject)
  const hint =
    meant === undefined ? '' : `; it is the derived id of the user ${printable(meant, 255)}`
  throw new Error(`user not found: ${printable(subject, 255)}${hint}`)
}

/** @throws {Error} that names the address when no user has it */
export async function findUser(
  { users }: ReturnType<typeof actDeps>,
  email: string,
): Promise<User> {
  const user = await users.findByEmail(email)
  if (user === null) throw new Error(`user not found: ${email}`)
  return user
}
