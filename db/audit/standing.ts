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

/**
 * Session and account in one statement, of a pool or of a transaction; null for an unknown session.
 *
 * The status is that of the view `token_audit.sessions`. Each sub-query here compares with the id itself, so that
 * Postgres leaves out all other months before it starts; in the view it learns the id too late for that.
 */
export async function readStanding(
  sql: postgres.Sql | Transaction,
  familyId: string,
): Promise<Standing | null> {
  const [row] = await sql<StandingRow[]>`
    select
      case
        when last.kind in ('revoked', 'reuse_detected') then last.kind
        when coalesce(last.expires_at, (
          select made.expires_at
          from token_ledger.token_event made
          where made.family_id = ${familyId}::uuid and made.kind in ('issued', 'rotated', 'reauthenticated')
          order by made.seq desc
          limit 1
        )) <= token_ledger.clock() then 'expired'
        else 'active'
      end as status,
      u.user_id as "userId", u.email, u.role, u.disabled_at as "disabledAt"
    from token_ledger.token_family f
    cross join lateral (
      select e.kind, e.expires_at
      from token_ledger.token_event e
      where e.family_id = ${familyId}::uuid
      order by e.seq desc
      limit 1
    ) last
    left join token_ledger.user_account u on u.user_id = f.user_id
    where f.family_id = ${familyId}::uuid`
  if (row === undefined) return null
  const { status, userId, ...account } = row
  return { status, account: userId === null ? null : { userId, ...account } }
}

type StandingRow = Omit<UserRow, 'userId'> & {
  readonly status: SessionStatus
  readonly userId: string | null
}
