import type postgres from 'postgres'
import type { Statements } from '../connection/connect.ts'
import { epochMs, epochMsText, instantParam } from '../instant.ts'
import type { Transport } from '../../server/ledger/events.ts'
import type { EndReason, SessionStatus } from '../../server/ledger/family.ts'
import { highestId } from './export.ts'

/** A row of the view `token_audit.sessions`: a session as it is now. Instants are in epoch milliseconds. */
export type SessionRow = {
  readonly familyId: string
  readonly userId: string
  readonly subject: string
  readonly email: string | null
  readonly status: SessionStatus
  readonly transport: Transport
  readonly deviceName: string | null
  readonly createdAt: number
  readonly lastRotatedAt: number | null
  readonly rotations: number
  readonly expiresAt: number
  readonly absoluteExpiresAt: number
  readonly endedAt: number | null
  readonly endReason: EndReason | null
  readonly incidentId: string | null
  readonly ip: string | null
  readonly userAgent: string | null
  /** Joined: see `methodsOf`. */
  readonly methods: string | null
  readonly authenticatedAt: number | null
}

/** Of a row `s` of the view. */
const expressions: Record<keyof SessionRow, string> = {
  familyId: 's.family_id',
  userId: 's.user_id',
  subject: 's.subject',
  email: 's.email',
  status: 's.status',
  transport: 's.transport',
  deviceName: 's.device_name',
  createdAt: epochMsText('s.created_at'),
  lastRotatedAt: epochMsText('s.last_rotated_at'),
  rotations: 's.rotations',
  expiresAt: epochMsText('s.expires_at'),
  absoluteExpiresAt: epochMsText('s.absolute_expires_at'),
  endedAt: epochMsText('s.ended_at'),
  endReason: 's.end_reason',
  incidentId: 's.incident_id',
  ip: 's.ip',
  userAgent: 's.user_agent',
  methods: "array_to_string(s.methods, ' ')",
  authenticatedAt: epochMsText('s.authenticated_at'),
}

const columnsOf = (names: readonly (keyof SessionRow)[]) =>
  names.map((name) => `${expressions[name]} as "${name}"`).join(', ')

/** The select list of a `SessionRow`, of a row `s` of the view. */
export const sessionColumns = columnsOf(Object.keys(expressions) as (keyof SessionRow)[])

/** A session as it is now; null for an unknown id. */
export async function readSession(
  { statements: sql }: Statements,
  familyId: string,
): Promise<SessionRow | null> {
  const [row] = await sql<SessionRow[]>`
    select ${sql.unsafe(sessionColumns)}
    from token_audit.sessions s
    where s.family_id = ${familyId}::uuid`
  return row ?? null
}

/**
 * Whether the user signed in from the network of this address, an IPv4 /24 or an IPv6 /64, in the last 30
 * days, whatever became of the session. Looks at the newest 1,000 sessions.
 */
export async function hasSignedInFrom(
  { statements }: Statements,
  userId: string,
  ip: string | null,
): Promise<boolean> {
  const rows = await statements`
    select
    from (
      select family_id
      from token_ledger.token_family
      where user_id = ${userId}::uuid
        and created_at > token_ledger.clock() - interval '30 days'
      order by family_id desc
      limit 1000
    ) f
    join token_ledger.token_event e on e.family_id = f.family_id and e.seq = 1
    where e.ip <<= set_masklen(${ip}::inet, case family(${ip}::inet) when 4 then 24 else 64 end)::cidr
    limit 1`
  return rows.length > 0
}

/** Whether the user ever had a session that was not archived. */
export async function hasEverSignedIn(
  { statements }: Statements,
  userId: string,
): Promise<boolean> {
  const rows = await statements`
    select from token_ledger.token_family where user_id = ${userId}::uuid limit 1`
  return rows.length > 0
}

/** The user of a session, whatever became of it; null for an unknown id. */
export async function readOwner(
  { statements }: Statements,
  familyId: string,
): Promise<string | null> {
  const [row] = await statements<{ userId: string }[]>`
    select user_id as "userId" from token_ledger.token_family where family_id = ${familyId}::uuid`
  return row?.userId ?? null
}

export type UserFilter = {
  readonly userId?: string | undefined
  /** In canonical form: see `server/users/email.ts`. */
  readonly email?: string | undefined
}

export type SessionFilter = UserFilter & { readonly status?: SessionStatus | undefined }

/** Newest first, older than the family `cursor`. */
export type Page = { readonly cursor?: string | undefined; readonly limit: number }

/** A page of the sessions of one user. */
export type PageOfUser = Page & { readonly userId: string }

/** A session as its user sees it. */
export type OwnSession = Pick<SessionRow, (typeof ownProperties)[number]>

const ownProperties = [
  'familyId',
  'transport',
  'deviceName',
  'createdAt',
  'lastRotatedAt',
  'expiresAt',
  'ip',
  'userAgent',
  'methods',
  'authenticatedAt',
] as const

const ownColumns = columnsOf(ownProperties)

/** As `listActiveSessions`, for many users in one statement, in the order of the pages asked for. */
export async function listOwnSessions(
  { statements: sql }: Pick<Statements, 'statements'>,
  asked: readonly PageOfUser[],
): Promise<readonly OwnSession[][]> {
  // `limit 1` keeps the planner from reading all sessions for a join.
  const rows = await sql<OfPage<OwnSession>[]>`
    select asked.page::integer, ${sql.unsafe(ownColumns)}
    from ${pagesAsked(sql, asked)}
    cross join lateral (
      select session.*
      from token_ledger.open_family open
      cross join lateral (
        select * from token_audit.sessions where family_id = open.family_id limit 1
      ) session
      where open.user_id = asked.user_id and open.family_id < asked.before and session.status = 'active'
      order by open.family_id desc
      limit asked.most
    ) s
    order by asked.page, s.family_id desc`
  return inPages(asked, rows)
}

/** As `listSessions` of a user, for many users in one statement, in the order of the pages asked for. */
export async function listSessionsOfUsers(
  { statements: sql }: Pick<Statements, 'statements'>,
  asked: readonly PageOfUser[],
): Promise<readonly SessionRow[][]> {
  const rows = await sql<OfPage<SessionRow>[]>`
    select asked.page::integer, ${sql.unsafe(sessionColumns)}
    from ${pagesAsked(sql, asked)}
    cross join lateral (
      select *
      from token_audit.sessions
      where user_id = asked.user_id and family_id < asked.before
      order by family_id desc
      limit asked.most
    ) s
    order by asked.page, s.family_id desc`
  return inPages(asked, rows)
}

/** A row of the page of this number. The first is 1. */
type OfPage<Row> = Row & { readonly page: number }

/** A row of a table `asked` for each page. */
function pagesAsked(sql: postgres.Sql, asked: readonly PageOfUser[]) {
  return sql`
    unnest(
      ${asked.map(({ userId }) => userId)}::uuid[],
      ${asked.map(({ cursor = highestId }) => cursor)}::uuid[],
      ${asked.map(({ limit }) => limit)}::integer[]
    ) with ordinality as asked(user_id, before, most, page)`
}

function inPages<Row>(
  asked: readonly PageOfUser[],
  rows: readonly OfPage<Row>[],
): readonly Row[][] {
  const pages = asked.map((): Row[] => [])
  for (const row of rows) pages[row.page - 1]?.push(row)
  return pages
}

/** A page of the active sessions of one user, or of all. Costs what is open: ended sessions are not read. */
export async function listActiveSessions(
  { statements: sql }: Statements,
  { userId, email }: UserFilter,
  { cursor = highestId, limit }: Page,
): Promise<SessionRow[]> {
  const ofUser = (id: string) => sql`and open.user_id = ${id}::uuid`
  const ofEmail = (address: string) => sql`and open.user_id = (
    select user_id from token_ledger.user_account where email = ${address})`
  // One look-up for each open family; `limit 1` keeps the planner from reading all sessions for a join.
  return sql<SessionRow[]>`
    select ${sql.unsafe(sessionColumns)}
    from token_ledger.open_family open
    cross join lateral (
      select * from token_audit.sessions where family_id = open.family_id limit 1
    ) s
    where open.family_id < ${cursor}::uuid
      and s.status = 'active'
      ${userId === undefined ? sql`` : ofUser(userId)}
      ${email === undefined ? sql`` : ofEmail(email)}
    order by open.family_id desc
    limit ${limit}`
}

/** A page of the sessions of all users. */
export async function listSessions(
  database: Statements,
  filter: SessionFilter,
  page: Page,
): Promise<SessionRow[]> {
  const { status, userId, email } = filter
  if (status === 'active') return listActiveSessions(database, filter, page)
  const { statements: sql } = database
  const { cursor = highestId, limit } = page
  // Sessions that ended so are few and have an index of their own. As an array, because the planner turns a
  // join into a scan of all sessions.
  const withReuse = () => sql`and s.family_id = any(array(
    select family_id from token_ledger.token_event where kind = 'reuse_detected'))`
  return sql<SessionRow[]>`
    select ${sql.unsafe(sessionColumns)}
    from token_audit.sessions s
    where s.family_id < ${cursor}::uuid
      ${userId === undefined ? sql`` : sql`and s.user_id = ${userId}::uuid`}
      ${email === undefined ? sql`` : sql`and s.email = ${email}`}
      ${status === undefined ? sql`` : sql`and s.status = ${status}`}
      ${status === 'reuse_detected' ? withReuse() : sql``}
    order by s.family_id desc
    limit ${limit}`
}

export type StateThen = {
  readonly status: SessionStatus
  readonly generation: number
  readonly expiresAt: number
  readonly endReason: EndReason | null
  readonly incidentId: string | null
  /** Joined: see `methodsOf`. */
  readonly methods: string | null
  readonly authenticatedAt: number | null
}

/** The state of a session at `at` (epoch milliseconds); null before it began. */
export async function readStateAt(
  { statements: sql }: Statements,
  familyId: string,
  at: number,
): Promise<StateThen | null> {
  const [row] = await sql<StateThen[]>`
    select
      status, generation, ${epochMs(sql, 'expires_at')} as "expiresAt", end_reason as "endReason",
      incident_id as "incidentId", array_to_string(methods, ' ') as methods,
      ${epochMs(sql, 'authenticated_at')} as "authenticatedAt"
    from token_audit.session_state_at(${familyId}::uuid, ${instantParam(at)}::timestamptz)`
  return row ?? null
}

/** What verifying a family's hash chain and history found. */
export type FamilyVerdict = {
  readonly intact: boolean
  readonly events: number
  readonly firstBrokenSeq: number | null
  readonly problem: string | null
}

export async function verifyFamily(
  { statements }: Statements,
  familyId: string,
): Promise<FamilyVerdict> {
  const [row] = await statements<FamilyVerdict[]>`
    select intact, events, first_broken_seq as "firstBrokenSeq", problem
    from token_audit.verify_family(${familyId}::uuid)`
  if (row === undefined) throw new Error('verify_family returned no row')
  return row
}
