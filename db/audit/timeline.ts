import type { Statements } from '../connection/connect.ts'
import { epochMs } from '../instant.ts'
import { isInNetworkOf } from '../network.ts'

/**
 * How a spent token came back, in a `replayed` or a `reuse_detected`: the event that had spent it, and
 * whether it came from where the current token had gone.
 */
export type ComeBack = {
  readonly seq: number
  /** The `rotated` or `reauthenticated` that spent the presented token. A replay repeats its answer, which was lost. */
  readonly spentBySeq: number
  /** Epoch milliseconds. */
  readonly spentAt: number
  readonly sinceSpentMs: number
  /** Compared with the event that made the newest token; null where one of the two is not known. */
  readonly sameNetwork: boolean | null
  readonly sameUserAgent: boolean | null
}

/** Of the newest `limit` events of a family those at which a spent token came back, by `seq`. */
export async function listComeBacks(
  { statements: sql }: Statements,
  familyId: string,
  limit: number,
): Promise<ComeBack[]> {
  return sql<ComeBack[]>`
    with event as materialized (
      select e.seq, e.kind, e.generation, e.presented_generation, e.occurred_at, e.ip, e.user_agent
      from token_ledger.token_event e
      where e.family_id = ${familyId}::uuid
    )
    select
      back.seq, spent.seq as "spentBySeq",
      ${epochMs(sql, 'spent.occurred_at')} as "spentAt",
      ${epochMs(sql, '(back.occurred_at - spent.occurred_at)')} as "sinceSpentMs",
      ${isInNetworkOf(sql, 'back.ip', 'newest.ip')} as "sameNetwork",
      back.user_agent = newest.user_agent as "sameUserAgent"
    from event back
    join event spent on spent.kind in ('rotated', 'reauthenticated')
      and spent.generation = back.presented_generation + 1
    join event newest on newest.kind in ('rotated', 'reauthenticated') and newest.generation = back.generation
    where back.kind in ('replayed', 'reuse_detected')
      and back.seq > (select max(seq) from event) - ${limit}::integer
    order by back.seq`
}
