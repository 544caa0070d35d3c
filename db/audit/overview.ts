import type { Statements } from '../connection/connect.ts'
import { epochMs } from '../instant.ts'

/** More incidents than this in a week are a flood, so counting on is of no use. */
const mostIncidents = 10_000

/** How many incidents the last seven days had, of each kind: 10,000 at most. */
export async function countIncidentsOfWeek({
  statements: sql,
}: Statements): Promise<{ reuse: number; replaysElsewhere: number }> {
  const [row] = await sql<{ reuse: number; replaysElsewhere: number }[]>`
    select
      (select count(*)::integer
      from (
        select
        from token_ledger.token_event
        where kind = 'reuse_detected' and occurred_at > token_ledger.clock() - interval '7 days'
        limit ${mostIncidents}
      ) reuse) as reuse,
      (select count(*)::integer
      from (
        select
        from token_ledger.replay_suspicion
        where occurred_at > token_ledger.clock() - interval '7 days'
        limit ${mostIncidents}
      ) suspicion) as "replaysElsewhere"`
  return row ?? { reuse: 0, replaysElsewhere: 0 }
}

/** A process of the service that used this database in the last day. Instants are epoch milliseconds. */
export type SeenProcess = {
  readonly processId: string
  /** Null for processes of versions that do not write it, as are the next two. */
  readonly version: string | null
  readonly startedAt: number | null
  /** How far it was behind the ends of sessions. */
  readonly lagMs: number | null
  readonly seenAt: number
  /** Whether it was seen within three of its marks. */
  readonly isUp: boolean
}

/** The newest 50 of the last day. */
export async function readProcesses(
  { statements: sql }: Statements,
  markEveryMs: number,
): Promise<SeenProcess[]> {
  return sql<SeenProcess[]>`
    select
      mark_id as "processId", version,
      ${epochMs(sql, 'started_at')} as "startedAt",
      lag_ms as "lagMs",
      ${epochMs(sql, 'seen_at')} as "seenAt",
      seen_at > token_ledger.clock() - ${3 * markEveryMs}::float8 * interval '1 millisecond' as "isUp"
    from token_ledger.process_mark
    where seen_at > token_ledger.clock() - interval '1 day'
    order by seen_at desc
    limit 50`
}
