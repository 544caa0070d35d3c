import type { Statements } from '../connection/connect.ts'
import { epochMs, instantParam } from '../instant.ts'
import type { EventFilter } from './events.ts'

/** A detected reuse. `occurredAt` is epoch milliseconds. */
export type Incident = {
  readonly incidentId: string
  readonly familyId: string
  readonly userId: string
  readonly email: string | null
  readonly occurredAt: number
  readonly presentedGeneration: number
  readonly currentGeneration: number
  readonly generationsBehind: number
  readonly sinceRotationMs: number
  readonly sameIp: boolean | null
  readonly sameUserAgent: boolean | null
  readonly ip: string | null
  readonly userAgent: string | null
}

/** A page of incidents, newest first, older than `cursor`. */
export async function listIncidents(
  { statements: sql }: Statements,
  period: Pick<EventFilter, 'fromAt' | 'toAt'>,
  page: { cursor?: { at: number; familyId: string } | undefined; limit: number },
): Promise<Incident[]> {
  const { fromAt, toAt } = period
  const { cursor, limit } = page
  return sql<Incident[]>`
    select
      incident_id as "incidentId", family_id as "familyId", user_id as "userId", email,
      ${epochMs(sql, 'occurred_at')} as "occurredAt",
      presented_generation as "presentedGeneration", current_generation as "currentGeneration",
      generations_behind as "generationsBehind",
      ${epochMs(sql, 'since_rotation')} as "sinceRotationMs",
      same_ip as "sameIp", same_user_agent as "sameUserAgent", host(ip) as ip, user_agent as "userAgent"
    from token_audit.reuse_incidents
    where true
      ${fromAt === undefined ? sql`` : sql`and occurred_at >= ${instantParam(fromAt)}::timestamptz`}
      ${toAt === undefined ? sql`` : sql`and occurred_at < ${instantParam(toAt)}::timestamptz`}
      ${
        cursor === undefined
          ? sql``
          : sql`and (occurred_at, family_id) < (${instantParam(cursor.at)}::timestamptz, ${cursor.familyId}::uuid)`
      }
    order by occurred_at desc, family_id desc
    limit ${limit}`
}
