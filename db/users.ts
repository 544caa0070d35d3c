import { and, eq, isNotNull, isNull, sql } from 'drizzle-orm'
import type { Database, Statements } from './connection/connect.ts'
import { builtOnce, type Has } from './connection/prepared.ts'
import { userAccount } from './schema.ts'
import type { FencedTransaction } from './connection/transaction.ts'

export type UserRow = {
  readonly userId: string
  readonly email: string | null
  readonly role: 'user' | 'admin'
  readonly disabledAt: string | Date | null
}

const columns = {
  userId: userAccount.userId,
  email: userAccount.email,
  role: userAccount.role,
  disabledAt: userAccount.disabledAt,
}

export async function findUserByEmail({ db }: Database, email: string): Promise<UserRow | null> {
  const [row] = await userByEmail(db, { email }).execute({ email })
  return row ?? null
}

const userByEmail = builtOnce((db, _has: Has<{ email: string }>) =>
  db
    .select(columns)
    .from(userAccount)
    .where(eq(userAccount.email, sql.placeholder('email')))
    .prepare('user_by_email'),
)

/** Unknown ids are missing. In SQL, not drizzle: the array is one parameter, so any number of ids is one statement. */
export async function findUsers(
  { statements }: Database,
  userIds: readonly string[],
): Promise<UserRow[]> {
  return statements<UserRow[]>`
    select user_id as "userId", email, role, disabled_at as "disabledAt"
    from token_ledger.user_account
    where user_id = any(${userIds as string[]}::uuid[])`
}

export async function readPasswordHash({ db }: Database, userId: string): Promise<string | null> {
  const [row] = await passwordHashOf(db, { userId }).execute({ userId })
  return row?.passwordHash ?? null
}

const passwordHashOf = builtOnce((db, _has: Has<{ userId: string }>) =>
  db
    .select({ passwordHash: userAccount.passwordHash })
    .from(userAccount)
    .where(eq(userAccount.userId, sql.placeholder('userId')))
    .prepare('password_hash'),
)

/** @returns false when the e-mail address or the id is taken */
export async function insertUser(
  { db }: Database,
  user: { userId: string; email: string; passwordHash: string; role: 'user' | 'admin' },
): Promise<boolean> {
  const rows = await db
    .insert(userAccount)
    .values(user)
    .onConflictDoNothing()
    .returning({ userId: userAccount.userId })
  return rows.length === 1
}

/** Like `insertUser`, inside a transaction. */
export async function insertUserWithin(
  { tx, txid }: FencedTransaction,
  user: { userId: string; email: string; passwordHash: string; role: 'user' | 'admin' },
): Promise<boolean> {
  const written = await tx`
    insert into token_ledger.user_account (user_id, email, password_hash, role)
    select ${user.userId}::uuid, ${user.email}, ${user.passwordHash}, ${user.role}
    where pg_current_xact_id()::text = ${txid}
    on conflict do nothing`
  return written.count === 1
}

/** A page of the users that are not erased, ordered by e-mail address, after the address `cursor`. */
export async function listUsers(
  { db }: Statements,
  filter: { emailPrefix?: string | undefined },
  page: { cursor?: string | undefined; limit: number },
): Promise<(UserRow & { createdAt: string | Date })[]> {
  const values = { ...filter, ...page }
  return usersByEmail(db, values).execute(values)
}

type UserPage = { emailPrefix?: string | undefined; cursor?: string | undefined; limit: number }

/** The order of the index for prefixes. Addresses are ASCII below 127. */
const inOrder = sql`${userAccount.email} collate "C"`

const usersByEmail = builtOnce((db, has: Has<UserPage>) =>
  db
    .select({ ...columns, createdAt: userAccount.createdAt })
    .from(userAccount)
    .where(
      and(
        isNotNull(userAccount.email),
        has('emailPrefix')
          ? sql`${inOrder} >= ${sql.placeholder('emailPrefix')}
              and ${inOrder} < ${sql.placeholder('emailPrefix')} || chr(127)`
          : undefined,
        has('cursor') ? sql`${inOrder} > ${sql.placeholder('cursor')}` : undefined,
      ),
    )
    .orderBy(inOrder)
    .limit(sql.placeholder('limit'))
    .prepare('users_by_email'),
)

export async function hasUsers({ db }: Database): Promise<boolean> {
  const rows = await db.select({ userId: userAccount.userId }).from(userAccount).limit(1)
  return rows.length > 0
}

/** Whether an admin can sign in. */
export async function hasAdmin({ db }: Database): Promise<boolean> {
  const rows = await db
    .select({ userId: userAccount.userId })
    .from(userAccount)
    .where(and(eq(userAccount.role, 'admin'), isNull(userAccount.disabledAt)))
    .limit(1)
  return rows.length > 0
}

export async function updatePasswordHash(
  { tx, txid }: FencedTransaction,
  userId: string,
  passwordHash: string,
): Promise<void> {
  await tx`
    update token_ledger.user_account
    set password_hash = ${passwordHash}
    where user_id = ${userId}::uuid and pg_current_xact_id()::text = ${txid}`
}

/** Replaces the hash of an unchanged password. Does nothing if the password was changed meanwhile. */
export async function replacePasswordHash(
  { db }: Database,
  userId: string,
  { from, to }: { from: string; to: string },
): Promise<void> {
  await db
    .update(userAccount)
    .set({ passwordHash: to })
    .where(and(eq(userAccount.userId, userId), eq(userAccount.passwordHash, from)))
}

export async function updateDisabled(
  { tx, txid }: FencedTransaction,
  userId: string,
  disabled: boolean,
): Promise<void> {
  await tx`
    update token_ledger.user_account
    set disabled_at = case when ${disabled} then coalesce(disabled_at, token_ledger.clock()) end
    where user_id = ${userId}::uuid and pg_current_xact_id()::text = ${txid}`
}

export async function updateRole(
  { tx, txid }: FencedTransaction,
  userId: string,
  role: 'user' | 'admin',
): Promise<void> {
  await tx`
    update token_ledger.user_account
    set role = ${role}
    where user_id = ${userId}::uuid and pg_current_xact_id()::text = ${txid}`
}

/** Removes the personal data and disables the account. The row stays, but no password matches it. */
export async function eraseUserRow(
  { tx, txid }: FencedTransaction,
  userId: string,
  unmatchableHash: string,
): Promise<void> {
  await tx`
    update token_ledger.user_account
    set email = null,
      password_hash = ${unmatchableHash},
      disabled_at = coalesce(disabled_at, token_ledger.clock())
    where user_id = ${userId}::uuid and pg_current_xact_id()::text = ${txid}`
}
