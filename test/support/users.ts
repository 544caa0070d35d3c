import { connect } from '../../db/connection/connect.ts'
import { createAccounts } from '../../server/users/accounts.ts'
import { createPasswords } from '../../server/users/passwords.ts'
import type { Role, User } from '../../server/users/directory.ts'

export const testPassword = 'correct horse battery staple'

const passwords = createPasswords()
let testPasswordHash: Promise<string> | undefined
/** Hashes `testPassword` once for all users of a file: a hash takes long, and is not what these tests are about. */
const hashedOnce = { ...passwords, hash: () => (testPasswordHash ??= passwords.hash(testPassword)) }

/** Creates a user with `testPassword` directly in the database. */
export async function makeUser(
  databaseUrl: string,
  email = `user-${Math.random().toString(36).slice(2)}@example.com`,
  role: Role = 'user',
): Promise<User> {
  const database = connect(databaseUrl, { maxConnections: 1 })
  try {
    const { accounts } = createAccounts(database, hashedOnce)
    return await accounts.create({ email, password: testPassword, role })
  } finally {
    await database.close()
  }
}
