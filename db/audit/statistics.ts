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

/**
 * Counts events per bucket of `bucketMs`, aligned to the epoch (UTC). Buckets without events are included.
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
  return sql<Bucket[]>`
    select
      (n * ${bucketMs}::bigint)::float8 as at,
      coalesce(issued, 0)::integer as issued,
      coalesce(rotated, 0)::integer as rotated,
      coalesce(replayed, 0)::integer as replayed,
      coalesce(reuse_detected, 0)::integer as "reuseDetected",
      coalesce(revoked, 0)::integer as revoked
    from generate_series(${first}::bigint, ${last}::bigint) as n
    left join (
      select
        floor(extract(epoch from occurred_at) * 1000 / ${bucketMs}::bigint)::bigint as n,
        count(*) filter (where kind = 'issued') as issued,
        count(*) filter (where kind in ('rotated', 'reauthenticated')) as rotated,
        count(*) filter (where kind = 'replayed') as replayed,
        count(*) filter (where kind = 'reuse_detected') as reuse_detected,
        count(*) filter (where kind = 'revoked') as revoked
      from token_ledger.token_event
      where occurred_at >= ${instantParam(period.fromAt)}::timestamptz
        and occurred_at < ${instantParam(period.toAt)}::timestamptz
      group by 1
    ) counted using (n)
    order by n`
}
