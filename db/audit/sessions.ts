import type { Statements } from '../connection/connect.ts'
import { epochMs, instantParam } from '../instant.ts'
import type { EndReason, SessionStatus } from '../../server/ledger/family.ts'
import { highestId } from './export.ts'
import { sessionColumns, sessionOf, type SessionRow } from './session-row.ts'

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

/** A page of the active sessions of one user, or of all. Costs what is open: ended sessions are not read. */
export async function listActiveSessions(
  { statements: sql }: Statements,
  { userId, email }: UserFilter,
  { cursor = highestId, limit }: Page,
): Promise<SessionRow[]> {
  const ofUser = (id: string) => sql`and open.user_id = ${id}::uuid`
  const ofEmail = (address: string) => sql`and open.user_id = (
    select user_id from token_ledger.user_account where email = ${address})`
  // One look-up for each open family.
  return sql<SessionRow[]>`
    select ${sql.unsafe(sessionColumns)}
    from token_ledger.open_family open
    ${sql.unsafe(sessionOf('open.family_id'))}
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
