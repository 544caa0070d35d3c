import type postgres from 'postgres'
import type { Transaction } from '../connection/transaction.ts'

/** Where transactions that end families say so. Anybody in the database may: it is a hint to look. */
const endsChannel = 'token_ledger_ends'

export type EndedFamily = { readonly familyId: string; readonly endedAt: number }

/**
 * Tells every process, once this transaction commits, to look at what has ended since `at` (epoch
 * milliseconds). A commit may come long after that, so the time is told, not "now".
 *
 * Postgres lets one transaction at a time commit with a notification: never on a refresh.
 */
export async function notifyFamilyEnds(tx: Transaction, at: number): Promise<void> {
  await tx`select pg_notify(${endsChannel}, ${String(at)})`
}

/** From the answer on, this connection is told of every end that commits. */
export async function listenForFamilyEnds(sql: postgres.Sql): Promise<void> {
  await sql`listen ${sql(endsChannel)}`
}

/** The time that a notification tells; the beginning of time for one that is none of ours. */
export function notifiedTime(payload: string): number {
  return /^\d{1,15}$/.test(payload) ? Number(payload) : 0
}

/**
 * Families that were ended since `sinceAt`, or in the last `keepMs` when that is later; newest first,
 * at most `limit`. A family of which somebody is writing the end right now is missing.
 *
 * @returns also the database's time, epoch milliseconds
 */
export async function readFamilyEnds(
  sql: postgres.Sql,
  { sinceAt, keepMs: retentionMs, limit }: { sinceAt: number; keepMs: number; limit: number },
): Promise<{ now: number; ended: EndedFamily[] }> {
  const rows = await sql<{ now: number; family_id: string | null; ended_at: number | null }[]>`
    select
      (extract(epoch from c.now) * 1000)::float8 as now,
      e.family_id,
      (extract(epoch from e.occurred_at) * 1000)::float8 as ended_at
    from (select token_ledger.clock() as now) c
    left join lateral (
      select family_id, occurred_at
      from token_ledger.token_event
      where kind in ('revoked', 'reuse_detected')
        and occurred_at >= greatest(
          to_timestamp(${sinceAt}::float8 / 1000),
          c.now - ${retentionMs}::float8 * interval '1 millisecond')
      order by occurred_at desc
      limit ${limit}::integer
    ) e on true`
  const ended = rows.flatMap((row) =>
    row.family_id === null || row.ended_at === null
      ? []
      : [{ familyId: row.family_id, endedAt: row.ended_at }],
  )
  return { now: rows[0]?.now ?? 0, ended }
}
