import { randomBytes, randomUUID } from 'node:crypto'
import type { Database } from '../db/connect.ts'
import { hasUsers, insertUser } from '../db/users.ts'
import { createPasswords } from './passwords.ts'

const email = 'admin@example.com'

/** @returns null when there are users already, or another process was quicker. */
export async function createFirstAdmin(
  database: Database,
): Promise<{ email: string; password: string } | null> {
  if (await hasUsers(database)) return null
  const password = randomBytes(18).toString('base64url')
  const passwordHash = await createPasswords().hash(password)
  const user = { userId: randomUUID(), email, passwordHash, role: 'admin' } as const
  return (await insertUser(database, user)) ? { email, password } : null
}
