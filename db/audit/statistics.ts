import type { Statements } from '../connection/connect.ts'
import { instantParam } from '../instant.ts'

/** Numbers of events from `at` (epoch milliseconds) on. */
export type Bucket = {
  readonly at: number
  readonly issued: number
  readonly rotated: number
  readonly replayed: number
  readonly reuseDetected: number
  readonly revoked: number
}

const hourMs = 3_600_000

/**
 * Counts events per bucket of `bucketMs`, aligned to the epoch (UTC). Buckets without events are included.
 *
 * Whole hours come from `event_hour`, so that a chart costs its points and not its events. What is not counted there is
 * counted here: the last minutes, and the parts of hours at both ends of the period.
 *
 * @param period epoch milliseconds; `fromAt` is included, `toAt` is not
 */
export async function countEvents(
  { statements: sql }: Statements,
  period: { fromAt: number; toAt: number },
  bucketMs: number,
): Promise<Bucket[]> {
  const first = Math.floor(period.fromAt / bucketMs)
  const last = Math.ceil(period.toAt / bucketMs) - 1
  const { fromAt, toAt } = wholeHours(period, bucketMs)
  return sql<Bucket[]>`
    with later as materialized (
      select greatest(
        ${instantParam(fromAt)}::timestamptz,
        least(
          coalesce(max(coalesce(counted_to, hour_at + interval '1 hour')), '-infinity'),
          ${instantParam(toAt)}::timestamptz
        )
      ) as from_at
      from token_ledger.event_hour
    ),
    part as (
      select hour_at as at, issued, rotated, replayed, reuse_detected, revoked
      from token_ledger.event_hour
      where hour_at >= ${instantParam(fromAt)}::timestamptz
        and hour_at < ${instantParam(toAt)}::timestamptz
      union all
      select
        to_timestamp(floor(extract(epoch from occurred_at) * 1000 / ${bucketMs}::bigint) * ${bucketMs}::bigint / 1000),
        count(*) filter (where kind = 'issued'),
        count(*) filter (where kind in ('rotated', 'reauthenticated')),
        count(*) filter (where kind = 'replayed'),
        count(*) filter (where kind = 'reuse_detected'),
        count(*) filter (where kind = 'revoked')
      from (
        select e.occurred_at, e.kind
        from token_ledger.token_event e
        where e.occurred_at >= ${instantParam(period.fromAt)}::timestamptz
          and e.occurred_at < ${instantParam(fromAt)}::timestamptz
          -- Without a row to compare, so that an empty period opens no partition.
          and ${instantParam(period.fromAt)}::timestamptz < ${instantParam(fromAt)}::timestamptz
        union all
        select e.occurred_at, e.kind
        from token_ledger.token_event e
        where e.occurred_at >= (select from_at from later)
          and e.occurred_at < ${instantParam(period.toAt)}::timestamptz
          and (select from_at from later) < ${instantParam(period.toAt)}::timestamptz
      ) uncounted
      group by 1
    )
    select
      (n * ${bucketMs}::bigint)::float8 as at,
      coalesce(sum(issued), 0)::integer as issued,
      coalesce(sum(rotated), 0)::integer as rotated,
      coalesce(sum(replayed), 0)::integer as replayed,
      coalesce(sum(reuse_detected), 0)::integer as "reuseDetected",
      coalesce(sum(revoked), 0)::integer as revoked
    from generate_series(${first}::bigint, ${last}::bigint) as n
    left join part
      on floor(extract(epoch from part.at) * 1000 / ${bucketMs}::bigint)::bigint = n
    group by n
    order by n`
}

/** The whole hours of the period; where it has none, or the buckets are shorter, no time at its end. */
function wholeHours({ fromAt, toAt }: { fromAt: number; toAt: number }, bucketMs: number) {
  const first = Math.ceil(fromAt / hourMs) * hourMs
  const end = Math.floor(toAt / hourMs) * hourMs
  return bucketMs >= hourMs && first < end ? { fromAt: first, toAt: end } : { fromAt: toAt, toAt }
}
