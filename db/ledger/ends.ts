import type postgres from 'postgres'
import type { Transaction } from '../connection/transaction.ts'
import { epochMs } from '../instant.ts'
import { nilUuid } from '../uuid.ts'

/** Any role of the database may notify on this channel, so a notification is only a hint to read again. */
const endsChannel = 'token_ledger_ends'

export type EndedFamily = { readonly familyId: string; readonly endedAt: number }

export type EndsRange = {
  readonly sinceAt: number
  readonly keepMs: number
  readonly after: EndedFamily | null
  readonly limit: number
}

/**
 * Notifies all processes, when this transaction commits, that families have ended since `at` (epoch
 * milliseconds). The notification carries the time of the event, because the commit may come much later.
 *
 * Postgres commits transactions with a notification one at a time, so the refresh path never notifies.
 */
export async function notifyFamilyEnds(tx: Transaction, at: number): Promise<void> {
  await tx`select pg_notify(${endsChannel}, ${String(at)})`
}

/** Once this resolves, the connection is notified of every end that commits. */
export async function listenForFamilyEnds(sql: postgres.Sql): Promise<void> {
  await sql`listen ${sql(endsChannel)}`
}

/** The time in a notification; 0, which means "read everything", when `notifyFamilyEnds` did not send it. */
export function notifiedTime(payload: string): number {
  return /^\d{1,15}$/.test(payload) ? Number(payload) : 0
}

/**
 * Reads a page of the families that ended since `sinceAt`, or within the last `keepMs` if that is later: oldest
 * first, those that follow `after`. Ends that are not committed yet are missing.
 *
 * @returns the families, and the database's time in epoch milliseconds
 */
export async function readFamilyEnds(
  sql: postgres.Sql,
  range: EndsRange,
): Promise<{ now: number; ended: EndedFamily[] }> {
  const { sinceAt, keepMs: retentionMs, after, limit } = range
  const rows = await sql<{ now: number; family_id: string | null; ended_at: number | null }[]>`
    select
      ${epochMs(sql, 'c.now')} as now,
      e.family_id,
      ${epochMs(sql, 'e.occurred_at')} as ended_at
    from (select token_ledger.clock() as now) c
    left join lateral (
      select family_id, occurred_at
      from token_ledger.token_event
      where kind in ('revoked', 'reuse_detected')
        and occurred_at >= greatest(
          to_timestamp(${sinceAt}::float8 / 1000),
          c.now - ${retentionMs}::float8 * interval '1 millisecond')
        and (occurred_at, family_id) > (
          to_timestamp(${after?.endedAt ?? 0}::float8 / 1000),
          ${after?.familyId ?? nilUuid}::uuid)
      order by occurred_at, family_id
      limit ${limit}::integer
    ) e on true`
  const ended = rows.flatMap((row) =>
    row.family_id === null || row.ended_at === null
      ? []
      : [{ familyId: row.family_id, endedAt: row.ended_at }],
  )
  return { now: rows[0]?.now ?? 0, ended }
}
