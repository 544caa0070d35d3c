import type { Statements } from '../connection/connect.ts'
import { epochMs, instantParam } from '../instant.ts'
import { isInNetworkOf } from '../network.ts'
import type { EventFilter } from './events.ts'

/** Why an incident is one: see docs/reference/http.md. */
export type IncidentKind = 'reuse' | 'replays_elsewhere'

/** A detected reuse, or a suspicion. `occurredAt` is epoch milliseconds. */
export type Incident = {
  readonly kind: IncidentKind
  readonly incidentId: string
  readonly familyId: string
  readonly seq: number
  /** The subject. */
  readonly userId: string
  readonly email: string | null
  readonly occurredAt: number
  readonly presentedGeneration: number
  readonly currentGeneration: number
  readonly generationsBehind: number
  readonly sinceRotationMs: number
  readonly sameIp: boolean | null
  /** Whether the address is of the same IPv4 /24 or IPv6 /64 as that of the newest rotation. */
  readonly sameNetwork: boolean | null
  readonly sameUserAgent: boolean | null
  readonly ip: string | null
  readonly userAgent: string | null
  readonly rotationIp: string | null
  readonly rotationUserAgent: string | null
}

export type IncidentCursor = {
  readonly at: number
  readonly familyId: string
  readonly seq: number
}

/** The two views have the same columns. */
const views = {
  reuse: 'token_audit.reuse_incidents',
  replays_elsewhere: 'token_audit.replay_suspicions',
} as const satisfies Record<IncidentKind, string>

/** A page of incidents, newest first, older than `cursor`. */
export async function listIncidents(
  { statements: sql }: Statements,
  period: Pick<EventFilter, 'fromAt' | 'toAt'>,
  page: { cursor?: IncidentCursor | undefined; limit: number },
): Promise<Incident[]> {
  const { fromAt, toAt } = period
  const { cursor, limit } = page
  const newest = sql`order by occurred_at desc, family_id desc, seq desc limit ${limit}`
  // The limit of each view lets it read its index only as far as this page.
  const pageOf = (kind: IncidentKind) => sql`
    (select ${kind}::text as kind, i.*
    from ${sql(views[kind])} i
    where true
      ${fromAt === undefined ? sql`` : sql`and occurred_at >= ${instantParam(fromAt)}::timestamptz`}
      ${toAt === undefined ? sql`` : sql`and occurred_at < ${instantParam(toAt)}::timestamptz`}
      ${
        cursor === undefined
          ? sql``
          : sql`and (occurred_at, family_id, seq)
              < (${instantParam(cursor.at)}::timestamptz, ${cursor.familyId}::uuid, ${cursor.seq}::integer)`
      }
    ${newest})`
  return sql<Incident[]>`
    select
      kind, incident_id as "incidentId", family_id as "familyId", seq, subject as "userId", email,
      ${epochMs(sql, 'occurred_at')} as "occurredAt",
      presented_generation as "presentedGeneration", current_generation as "currentGeneration",
      generations_behind as "generationsBehind",
      ${epochMs(sql, 'since_rotation')} as "sinceRotationMs",
      same_ip as "sameIp",
      ${isInNetworkOf(sql, 'ip', 'rotation_ip')} as "sameNetwork",
      same_user_agent as "sameUserAgent", host(ip) as ip, user_agent as "userAgent",
      host(rotation_ip) as "rotationIp", rotation_user_agent as "rotationUserAgent"
    from (${pageOf('reuse')} union all ${pageOf('replays_elsewhere')}) incidents
    ${newest}`
}

/** Incidents of one client version, which is its user agent. Instants are epoch milliseconds. */
export type ClientIncidents = {
  /** Null where it is not known, or was erased. */
  readonly userAgent: string | null
  readonly reuse: number
  readonly replaysElsewhere: number
  readonly users: number
  /** From the network and the user agent of the newest rotation, as a broken client would. */
  readonly likeTheClient: number
  readonly medianGenerationsBehind: number
  readonly firstAt: number
  readonly lastAt: number
}

/** The newest incidents that are grouped, of each kind. */
const incidentsGrouped = 2_000

const clientsShown = 100

/** The newest 2,000 incidents of each kind by the user agent that they came from, the most frequent first. */
export async function listIncidentsByClient(
  { statements: sql }: Statements,
  { fromAt, toAt }: Pick<EventFilter, 'fromAt' | 'toAt'>,
): Promise<ClientIncidents[]> {
  const newestOf = (kind: IncidentKind) => sql`
    (select ${kind}::text as kind, i.*
    from ${sql(views[kind])} i
    where true
      ${fromAt === undefined ? sql`` : sql`and occurred_at >= ${instantParam(fromAt)}::timestamptz`}
      ${toAt === undefined ? sql`` : sql`and occurred_at < ${instantParam(toAt)}::timestamptz`}
    order by occurred_at desc, family_id desc, seq desc
    limit ${incidentsGrouped})`
  return sql<ClientIncidents[]>`
    select
      user_agent as "userAgent",
      count(*) filter (where kind = 'reuse')::integer as reuse,
      count(*) filter (where kind = 'replays_elsewhere')::integer as "replaysElsewhere",
      count(distinct user_id)::integer as users,
      count(*) filter (
        where same_user_agent and ${isInNetworkOf(sql, 'ip', 'rotation_ip')}
      )::integer as "likeTheClient",
      percentile_disc(0.5) within group (order by generations_behind) as "medianGenerationsBehind",
      ${epochMs(sql, 'min(occurred_at)')} as "firstAt",
      ${epochMs(sql, 'max(occurred_at)')} as "lastAt"
    from (${newestOf('reuse')} union all ${newestOf('replays_elsewhere')}) incidents
    group by user_agent
    order by count(*) desc, max(occurred_at) desc
    limit ${clientsShown}`
}
