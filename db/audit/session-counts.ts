import type { Statements } from '../connection/connect.ts'

/** Sessions that are looked at to estimate how many are active; up to so many, they are counted. */
const sampleSize = 2_000

/** The bytes of one row of `open_family` with its header, alignment and pointer. */
const openFamilyBytes = 88

/** Joins the event `made` that made the newest token of each open family `o`. */
const madeToken = (sql: Statements['statements']) => sql`
    cross join lateral (
      select e.expires_at
      from token_ledger.token_event e
      where e.family_id = o.family_id and e.kind in ('issued', 'rotated', 'reauthenticated')
      order by e.seq desc
      limit 1
    ) made`

export type ActiveCount = { readonly count: number; readonly isExact: boolean }

/**
 * How many sessions are active now. Whether an open family is active takes a look at its newest token, so a large table
 * is sampled by blocks, as many as a few thousand families fill.
 */
export async function countActiveSessions({ statements: sql }: Statements): Promise<ActiveCount> {
  const [row] = await sql<ActiveCount[]>`
    with sampled as (
      select least(100, 100.0 * ${sampleSize}::float8 * ${openFamilyBytes}::float8
        / greatest(pg_relation_size('token_ledger.open_family'), 1)) as percent
    )
    select
      round(count(*) filter (where made.expires_at > token_ledger.clock())
        * 100 / (select percent from sampled))::float8 as count,
      (select percent from sampled) = 100 as "isExact"
    from token_ledger.open_family o tablesample system ((select percent from sampled))
    ${madeToken(sql)}`
  return row ?? { count: 0, isExact: true }
}

/** Of one user; a limit of sessions is far lower. */
const mostCounted = 1_000

/** How many active sessions each of these users has, 1,000 at most. Users without one are missing. */
export async function countSessionsOf(
  { statements: sql }: Statements,
  userIds: readonly string[],
): Promise<ReadonlyMap<string, number>> {
  const rows = await sql<{ userId: string; count: number }[]>`
    select o.user_id as "userId", count(*)::integer as count
    from unnest(${userIds as string[]}::uuid[]) as u(id)
    cross join lateral (
      select own.user_id, own.family_id
      from token_ledger.open_family own
      where own.user_id = u.id
      order by own.family_id desc
      limit ${mostCounted}
    ) o
    ${madeToken(sql)}
    where made.expires_at > token_ledger.clock()
    group by o.user_id`
  return new Map(rows.map(({ userId, count }) => [userId, count]))
}
