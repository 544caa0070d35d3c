import { randomBytes } from 'node:crypto'
import { insertAdminAction } from '../../db/audit/admin-actions.ts'
import type { Database } from '../../db/connection/connect.ts'
import { hasUsers } from '../../db/users.ts'
import { createAccounts } from '../users/accounts.ts'
import { AuthError } from '../errors.ts'
import { createPasswords } from '../users/passwords.ts'

const email = 'admin@example.com'

/** @returns null when there are users already, or another process was quicker. */
export async function createFirstAdmin(
  database: Database,
): Promise<{ email: string; password: string } | null> {
  if (await hasUsers(database)) return null
  const password = randomBytes(18).toString('base64url')
  const { accounts } = createAccounts(database, createPasswords())
  try {
    await accounts.create({ email, password, role: 'admin' }, (within, { id, role }) =>
      insertAdminAction(within, {
        action: 'user_created',
        actorUserId: null,
        targetUserId: id,
        role,
      }),
    )
    return { email, password }
  } catch (error) {
    if (error instanceof AuthError && error.reason === 'email_taken') return null
    throw error
  }
}
