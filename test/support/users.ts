import { hash } from '@node-rs/argon2'
import type { Sql } from 'postgres'
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

/**
 * Gives accounts, which it creates where they are missing, a hash of `testPassword` with the least work that argon2
 * takes, for tests that guess hundreds of times. The first sign-in replaces it by one with the usual work.
 */
export async function makeQuickToGuess(ownerSql: Sql, emails: readonly string[]): Promise<void> {
  const quick = await hash(testPassword, { memoryCost: 8, timeCost: 1, parallelism: 1 })
  await ownerSql`
    insert into token_ledger.user_account (user_id, email, password_hash, role)
    select gen_random_uuid(), email, ${quick}, 'user'
    from unnest(${emails as string[]}::text[]) as made (email)
    on conflict (email) do update set password_hash = excluded.password_hash`
}
