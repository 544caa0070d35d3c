import type { Database } from '../../db/connection/connect.ts'
import { createAccounts } from '../users/accounts.ts'
import type { User } from '../users/directory.ts'
import { createPasswords } from '../users/passwords.ts'
import type { Person } from './arguments.ts'

/** The actor of everything the command line does: it has neither an account nor an address. */
export const commandLine = {
  actorUserId: null,
  caller: { ip: null, userAgent: 'token-ledger command line' },
} as const

/** What acts on sessions and users need. A command writes no security log: its record is in the ledger. */
export function actDeps(database: Database) {
  const users = createAccounts(database, createPasswords())
  return { sql: database.transactions, users, accounts: users.accounts, logSecurityEvent: () => {} }
}

/** The user's id, as the user directory has it. One of a team's own directory is taken as it is given. */
export async function subjectOf(deps: ReturnType<typeof actDeps>, person: Person): Promise<string> {
  return 'subject' in person ? person.subject : (await findUser(deps, person.email)).id
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
