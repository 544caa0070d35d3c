import type { Database } from './connection/connect.ts'

/** Adds `points` to a count, or takes them away. A count lasts `durationMs` from its first point. */
export type PointChange = {
  readonly key: string
  readonly points: number
  readonly durationMs: number
}

export type CountNow = {
  readonly key: string
  readonly points: number
  /** Until the count begins again at 0. */
  readonly msLeft: number
}

/**
 * Changes counts in one statement, by the database's clock, and in the order of their keys: two statements
 * that change the same counts never wait for each other in a circle. The keys must differ.
 *
 * @returns the counts as they are now, without those that were to shrink and do not exist
 */
export async function changePoints(
  { limits: sql }: Database,
  changes: readonly PointChange[],
): Promise<CountNow[]> {
  return sql<CountNow[]>`
    with clock as materialized (
      select (extract(epoch from token_ledger.clock()) * 1000)::bigint as now
    )
    insert into token_ledger.rate_limit as counted (key, points, expire)
    select change.key, change.points, clock.now + change.duration
    from clock, unnest(
        ${changes.map(({ key }) => key)}::text[],
        ${changes.map(({ points }) => points)}::integer[],
        ${changes.map(({ durationMs }) => durationMs)}::integer[]
      ) as change (key, points, duration)
    where change.points > 0
      or exists (select from token_ledger.rate_limit r where r.key = change.key and r.expire > clock.now)
    order by change.key
    on conflict (key) do update
    set
      points = greatest(0, excluded.points + case
        when counted.expire <= (select now from clock) then 0
        else counted.points
      end),
      expire = case
        when counted.expire <= (select now from clock) then excluded.expire
        -- Later than a count can last: the clock was ahead when it began.
        else least(counted.expire, excluded.expire)
      end
    returning key, points, (expire - (select now from clock))::integer as "msLeft"`
}

/**
 * Deletes counts that are over, oldest first.
 *
 * @returns how many were deleted, `limit` at most
 */
export async function deleteStaleCounts(
  { limits: sql }: Pick<Database, 'limits'>,
  limit: number,
): Promise<number> {
  // The order makes it read the index on `expire` alone, however many rows the planner expects.
  const deleted = await sql`
    delete from token_ledger.rate_limit
    where key = any(array(
      select key
      from token_ledger.rate_limit
      where expire <= (extract(epoch from token_ledger.clock()) * 1000)::bigint
      order by expire
      limit ${limit}::integer))`
  return deleted.count
}
