import type postgres from 'postgres'
import type { SessionStatus } from '../../server/ledger/family.ts'
import type { Transaction } from '../connection/transaction.ts'
import type { UserRow } from '../users.ts'

/** What a session and its user are now. */
export type Standing = {
  readonly status: SessionStatus
  /** The user's row in `user_account`; null without one, as with a user directory of the embedder. */
  readonly account: UserRow | null
}

/** Session and account in one statement, of a pool or of a transaction; null for an unknown session. */
export async function readStanding(
  sql: postgres.Sql | Transaction,
  familyId: string,
): Promise<Standing | null> {
  const [row] = await sql<StandingRow[]>`
    select s.status, u.user_id as "userId", u.email, u.role, u.disabled_at as "disabledAt"
    from token_audit.sessions s
    left join token_ledger.user_account u on u.user_id = s.user_id
    where s.family_id = ${familyId}::uuid`
  if (row === undefined) return null
  const { status, userId, ...account } = row
  return { status, account: userId === null ? null : { userId, ...account } }
}

type StandingRow = Omit<UserRow, 'userId'> & {
  readonly status: SessionStatus
  readonly userId: string | null
}
