import type postgres from 'postgres'
import type { SessionStatus } from '../../server/ledger/family.ts'
import type { Transaction } from '../connection/transaction.ts'
import { rangeOf } from '../uuid.ts'
import type { UserRow } from '../users.ts'

/** What a session and its user are now. */
export type Standing = {
  readonly status: SessionStatus
  /** The user's row in `user_account`; null without one, as with a user directory of the embedder. */
  readonly account: UserRow | null
}

/** Session and account; null for an unknown session. */
export async function readStanding(
  sql: postgres.Sql | Transaction,
  familyId: string,
): Promise<Standing | null> {
  const [standing = null] = await readStandings(sql, [familyId])
  return standing
}

/**
 * Sessions and accounts in one statement, of a pool or of a transaction, in the order of the ids.
 *
 * The status is that of the view `token_audit.sessions`. Each sub-query here is limited to the ids from the lowest to
 * the highest, so that Postgres leaves out all other months before it starts; in the view it learns the ids too late
 * for that.
 */
export async function readStandings(
  sql: postgres.Sql | Transaction,
  familyIds: readonly string[],
): Promise<(Standing | null)[]> {
  const { lowest, highest } = rangeOf(familyIds)
  const rows = await sql<StandingRow[]>`
    select
      f.family_id as "familyId",
      case
        when last.kind in ('revoked', 'reuse_detected') then last.kind
        when coalesce(last.expires_at, (
          select made.expires_at
          from token_ledger.token_event made
          where made.family_id = asked.family_id
            and made.family_id between ${lowest}::uuid and ${highest}::uuid
            and made.kind in ('issued', 'rotated', 'reauthenticated')
          order by made.seq desc
          limit 1
        )) <= token_ledger.clock() then 'expired'
        else 'active'
      end as status,
      u.user_id as "userId", u.email, u.role, u.disabled_at as "disabledAt"
    from unnest(${familyIds}::uuid[]) as asked(family_id)
    cross join lateral (
      select *
      from token_ledger.token_family
      where family_id = asked.family_id and family_id between ${lowest}::uuid and ${highest}::uuid
      offset 0
    ) f
    cross join lateral (
      select e.kind, e.expires_at
      from token_ledger.token_event e
      where e.family_id = asked.family_id and e.family_id between ${lowest}::uuid and ${highest}::uuid
      order by e.seq desc
      limit 1
    ) last
    left join lateral (
      select *
      from token_ledger.user_account
      where user_id = f.user_id
      offset 0
    ) u on true`
  const standings = new Map(rows.map((row) => [row.familyId, toStanding(row)]))
  return familyIds.map((familyId) => standings.get(familyId) ?? null)
}

function toStanding({ familyId: _familyId, status, userId, ...account }: StandingRow): Standing {
  return { status, account: userId === null ? null : { userId, ...account } }
}

type StandingRow = Omit<UserRow, 'userId'> & {
  readonly familyId: string
  readonly status: SessionStatus
  readonly userId: string | null
}
