import type { Database } from '../../db/connection/connect.ts'
import { hasUsers } from '../../db/users.ts'
import { AuthError } from '../errors.ts'
import { createAccounts } from '../users/accounts.ts'
import { createPasswords } from '../users/passwords.ts'
import { createUser, newPassword } from './users.ts'

const email = 'admin@example.com'

/**
 * Call it before the service listens: with open registration, any caller could take the address first.
 *
 * @returns null when there are users already, or another process created this admin first
 */
export async function createFirstAdmin(
  database: Database,
): Promise<{ email: string; password: string } | null> {
  if (await hasUsers(database)) return null
  const password = newPassword()
  const { accounts } = createAccounts(database, createPasswords())
  try {
    await createUser(accounts, { email, password, role: 'admin' }, { actorUserId: null })
    return { email, password }
  } catch (error) {
    if (error instanceof AuthError && error.reason === 'email_taken') return null
    throw error
  }
}
