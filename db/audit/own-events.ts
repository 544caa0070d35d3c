import type { RevocationReason, Transport } from '../../server/ledger/events.ts'
import type { Statements } from '../connection/connect.ts'
import { epochMs, instantParam } from '../instant.ts'

/** What happened to a user's sessions: where one began, and where it was ended. Instants are epoch milliseconds. */
export type OwnEvent = {
  readonly familyId: string
  readonly seq: number
  readonly kind: 'issued' | 'reuse_detected' | 'revoked'
  readonly occurredAt: number
  readonly reason: RevocationReason | null
  /** Of the session, as is the next one. */
  readonly deviceName: string | null
  readonly transport: Transport
  /** Where the event came from; null where an admin or the command line made it. */
  readonly ip: string | null
  readonly userAgent: string | null
}

export type OwnEventCursor = {
  readonly at: number
  readonly familyId: string
  readonly seq: number
}

/** The newest sessions that are looked at. */
const sessionsRead = 1_000

/**
 * A page of the events of a user's own sessions, newest first, older than `cursor`: of each the first event and the
 * end. Rotations and replays say nothing to a person.
 */
export async function listOwnEvents(
  { statements: sql }: Statements,
  userId: string,
  { cursor, limit }: { cursor?: OwnEventCursor | undefined; limit: number },
): Promise<OwnEvent[]> {
  return sql<OwnEvent[]>`
    select
      f.family_id as "familyId", e.seq, e.kind,
      ${epochMs(sql, 'e.occurred_at')} as "occurredAt",
      e.reason, f.device_name as "deviceName", f.transport,
      case when e.is_own then host(e.ip) end as ip,
      case when e.is_own then e.user_agent end as "userAgent"
    from (
      select family_id, device_name, transport
      from token_ledger.token_family
      where user_id = ${userId}::uuid
      order by family_id desc
      limit ${sessionsRead}
    ) f
    cross join lateral (
      (select first.seq, first.kind, first.occurred_at, first.reason, first.ip, first.user_agent, true as is_own
      from token_ledger.token_event first
      where first.family_id = f.family_id and first.seq = 1)
      union all
      (select
        last.seq, last.kind, last.occurred_at, last.reason, last.ip, last.user_agent,
        coalesce(last.reason, '') not in ('admin_revoked', 'user_disabled')
          and coalesce(last.actor_user_id, ${userId}::uuid) = ${userId}::uuid
      from (
        select newest.*
        from token_ledger.token_event newest
        where newest.family_id = f.family_id
        order by newest.seq desc
        limit 1
      ) last
      where last.kind in ('reuse_detected', 'revoked'))
    ) e
    where true
      ${
        cursor === undefined
          ? sql``
          : sql`and (e.occurred_at, f.family_id, e.seq)
              < (${instantParam(cursor.at)}::timestamptz, ${cursor.familyId}::uuid, ${cursor.seq}::integer)`
      }
    order by e.occurred_at desc, f.family_id desc, e.seq desc
    limit ${limit}`
}
