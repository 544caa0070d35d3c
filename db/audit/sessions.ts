import { and, desc, eq, lt, sql } from 'drizzle-orm'
import type { Statements } from '../connection/connect.ts'
import { builtOnce, type Has } from '../connection/prepared.ts'
import { epochMsText, instantParam } from '../instant.ts'
import { methodsOf } from '../methods.ts'
import type { Transport } from '../../server/ledger/events.ts'
import type { EndReason, SessionStatus } from '../../server/ledger/family.ts'
import { highestId } from './export.ts'
import { auditSessions, openFamily, tokenEvent, userAccount, type AuditSession } from '../schema.ts'

/** A session as it is now; null for an unknown id. */
export async function readSession(
  { db }: Statements,
  familyId: string,
): Promise<AuditSession | null> {
  const [row] = await sessionById(db, { familyId }).execute({ familyId })
  return row ?? null
}

const sessionById = builtOnce((db, _has: Has<{ familyId: string }>) =>
  db
    .select()
    .from(auditSessions)
    .where(eq(auditSessions.familyId, sql.placeholder('familyId')))
    .prepare('session_by_id'),
)

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

/** A page of a user's own active sessions. */
export type OwnPage = Page & { readonly userId: string }

/** A session as its user sees it. Instants are in epoch milliseconds. */
export type OwnSession = {
  readonly familyId: string
  readonly transport: Transport
  readonly deviceName: string | null
  readonly createdAt: number
  readonly lastRotatedAt: number | null
  readonly expiresAt: number
  readonly ip: string | null
  readonly userAgent: string | null
  /** Joined: see `methodsOf`. */
  readonly methods: string | null
  readonly authenticatedAt: number | null
}

/** As `listActiveSessions`, for many users in one statement, in the order of the pages asked for. */
export async function listOwnSessions(
  { statements }: Pick<Statements, 'statements'>,
  asked: readonly OwnPage[],
): Promise<readonly OwnSession[][]> {
  // `limit 1` keeps the planner from reading all sessions for a join.
  const rows = await statements<(OwnSession & { page: number })[]>`
    select asked.page::integer, ${statements.unsafe(ownColumns)}
    from unnest(
      ${asked.map(({ userId }) => userId)}::uuid[],
      ${asked.map(({ cursor = highestId }) => cursor)}::uuid[],
      ${asked.map(({ limit }) => limit)}::integer[]
    ) with ordinality as asked(user_id, before, most, page)
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
  const pages = asked.map((): OwnSession[] => [])
  for (const row of rows) pages[row.page - 1]?.push(row)
  return pages
}

const ownColumns = `
  s.family_id as "familyId", s.transport, s.device_name as "deviceName",
  ${epochMsText('s.created_at')} as "createdAt",
  ${epochMsText('s.last_rotated_at')} as "lastRotatedAt",
  ${epochMsText('s.expires_at')} as "expiresAt",
  s.ip, s.user_agent as "userAgent", array_to_string(s.methods, ' ') as methods,
  ${epochMsText('s.authenticated_at')} as "authenticatedAt"`

/** A page of the active sessions of one user, or of all. Costs what is open: ended sessions are not read. */
export async function listActiveSessions(
  { db }: Statements,
  filter: UserFilter,
  page: Page,
): Promise<AuditSession[]> {
  const values = { ...filter, ...page }
  const rows = await activeSessions(db, values).execute(values)
  return rows.map((row) => row.session)
}

const activeSessions = builtOnce((db, has: Has<UserFilter & Page>) => {
  // One look-up for each open family; `limit` keeps the planner from reading all sessions for a join.
  const session = db
    .select()
    .from(auditSessions)
    .where(eq(auditSessions.familyId, openFamily.familyId))
    .limit(1)
    .as('session')
  const userOfEmail = db
    .select({ userId: userAccount.userId })
    .from(userAccount)
    .where(eq(userAccount.email, sql.placeholder('email')))
  return db
    .select()
    .from(openFamily)
    .crossJoinLateral(session)
    .where(
      and(
        has('userId') ? eq(openFamily.userId, sql.placeholder('userId')) : undefined,
        has('email') ? eq(openFamily.userId, userOfEmail) : undefined,
        has('cursor') ? lt(openFamily.familyId, sql.placeholder('cursor')) : undefined,
        eq(session.status, 'active'),
      ),
    )
    .orderBy(desc(openFamily.familyId))
    .limit(sql.placeholder('limit'))
    .prepare('active_sessions')
})

/** A page of the sessions of all users. */
export async function listSessions(
  database: Statements,
  filter: SessionFilter,
  page: Page,
): Promise<AuditSession[]> {
  const { status, ...ofUser } = filter
  if (status === 'active') return listActiveSessions(database, ofUser, page)
  const values = { ...filter, ...page, isReuse: status === 'reuse_detected' || undefined }
  return sessions(database.db, values).execute(values)
}

const sessions = builtOnce((db, has: Has<SessionFilter & Page & { isReuse: true | undefined }>) => {
  // Sessions that ended so are few and have an index of their own. As an array, because the planner turns a
  // join into a scan of all sessions.
  const isWithReuse = sql`${auditSessions.familyId} = any(array(
    select ${tokenEvent.familyId} from ${tokenEvent} where ${tokenEvent.kind} = 'reuse_detected'))`
  return db
    .select()
    .from(auditSessions)
    .where(
      and(
        has('userId') ? eq(auditSessions.userId, sql.placeholder('userId')) : undefined,
        has('email') ? eq(auditSessions.email, sql.placeholder('email')) : undefined,
        has('status') ? eq(auditSessions.status, sql.placeholder('status')) : undefined,
        has('isReuse') ? isWithReuse : undefined,
        has('cursor') ? lt(auditSessions.familyId, sql.placeholder('cursor')) : undefined,
      ),
    )
    .orderBy(desc(auditSessions.familyId))
    .limit(sql.placeholder('limit'))
    .prepare('sessions')
})

export type StateThen = {
  readonly status: SessionStatus
  readonly generation: number
  readonly expiresAt: string | Date
  readonly endReason: EndReason | null
  readonly incidentId: string | null
  readonly methods: readonly string[] | null
  readonly authenticatedAt: string | Date | null
}

/** The state of a session at `at` (epoch milliseconds); null before it began. */
export async function readStateAt(
  { db }: Statements,
  familyId: string,
  at: number,
): Promise<StateThen | null> {
  const [row] = await db.execute<Omit<StateThen, 'methods'> & { methods: string | null }>(sql`
    select
      status, generation, expires_at as "expiresAt", end_reason as "endReason", incident_id as "incidentId",
      array_to_string(methods, ' ') as methods, authenticated_at as "authenticatedAt"
    from token_audit.session_state_at(${familyId}::uuid, ${instantParam(at)}::timestamptz)`)
  return row === undefined ? null : { ...row, methods: methodsOf(row.methods) }
}

/** What verifying a family's hash chain and history found. */
export type FamilyVerdict = {
  readonly intact: boolean
  readonly events: number
  readonly firstBrokenSeq: number | null
  readonly problem: string | null
}

export async function verifyFamily({ db }: Statements, familyId: string): Promise<FamilyVerdict> {
  const [row] = await db.execute<FamilyVerdict>(sql`
    select intact, events, first_broken_seq as "firstBrokenSeq", problem
    from token_audit.verify_family(${familyId}::uuid)`)
  if (row === undefined) throw new Error('verify_family returned no row')
  return row
}
