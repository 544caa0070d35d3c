import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { migrate } from '../../db/migrate.ts'
import { ledgerIdOf } from '../../db/subjects.ts'
import { verifyExport } from '../../server/audit/verify-export.ts'
import { dumpSchema } from '../schema/dump.ts'
import { startApp, type TestApp } from '../support/app.ts'
import { beginSessions } from '../support/begun-sessions.ts'
import type { FreshDatabase } from '../support/database.ts'
import { claimsOf } from '../support/forge.ts'
import { auth, query, refreshCookieIn, type Answer } from '../support/http.ts'
import { exportLines } from '../support/ledger.ts'
import { fromPage, kindsOf } from '../support/sessions.ts'
import type { HeldSession } from './make-ledger.ts'
import { held, restoreOldLedger } from './old-ledger.ts'

// A ledger that commit 46fbb0c wrote, taken through the upgrade to this version. Each test has sessions of its own.
let owner: FreshDatabase
let app: TestApp
let eventsBefore: string
let signingKeysBefore: string[]

beforeAll(async () => {
  owner = await restoreOldLedger()
  eventsBefore = await readEvents()
  const keys = await owner.ownerSql<{ kid: string }[]>`
    select kid from token_ledger.signing_key order by signs_from`
  signingKeysBefore = keys.map(({ kid }) => kid)
  await migrate(owner.url)
  app = await startApp({ AUTH_SECRET: held.authSecret }, { owner })
})
afterAll(() => app[Symbol.asyncDispose]())

test('the dump holds every kind of event, an erased person, an archived month and the acts of admins', async () => {
  const { ownerSql } = owner
  const [found] = await ownerSql`
    select
      array_agg(distinct kind order by kind) as kinds,
      array_agg(distinct reason order by reason) as reasons,
      count(*) filter (where origin_salt is null)::int as erased
    from token_ledger.token_event`
  expect(found).toMatchObject({
    kinds: ['issued', 'replayed', 'reuse_detected', 'revoked', 'rotated'],
    reasons: expect.arrayContaining(['same_attempt', 'grace_window', 'logout', 'admin_revoked']),
  })
  expect(found!.erased).toBeGreaterThan(0)
  const actions = await ownerSql<{ action: string }[]>`
    select distinct action from token_audit.admin_actions order by action`
  expect(actions.map(({ action }) => action)).toEqual([
    'ledger_archived',
    'session_revoked',
    'user_created',
    'user_disabled',
    'user_erased',
  ])
})

test('the upgrade gives the schema of a new ledger', async () => {
  expect(await dumpSchema(owner.ownerSql)).toBe(await readFile('drizzle/schema.sql', 'utf8'))
})

test('the upgrade changes no event; SQL and TypeScript find every hash and every history intact', async () => {
  expect(await readEvents()).toBe(eventsBefore)
  expect(await owner.ownerSql`select * from token_audit.verify_ledger()`).toEqual([])
  const report = await verifyExport(await exportLines(app.database))
  expect(report.problems).toEqual([])
  expect(report.events).toBeGreaterThan(20)
})

test('the upgrade finds the sessions that are open', async () => {
  const open = await owner.ownerSql`select from token_ledger.open_family`
  const active = await owner.ownerSql`select from token_audit.sessions where status = 'active'`
  expect(active.length).toBeGreaterThan(0)
  expect(open.length).toBeGreaterThanOrEqual(active.length)
})

test.each(['cookie', 'body'])('a session of before goes on (%s)', async (name) => {
  const session = held.sessions[name]!
  const answer = await present(session, session.tokens.length - 1)
  expect(answer.status).toBe(200)
  expect(answer.data.familyId).toBe(session.familyId)
  const successor = tokenIn(answer, session)
  expect(session.tokens).not.toContain(successor)
  const next = await present({ ...session, tokens: [successor] }, 0)
  expect(next.status).toBe(200)
  // It has no methods, and was authenticated when it began.
  const { amr, auth_time: at } = claimsOf(next.data.accessToken)
  const [began] = await owner.ownerSql<{ at: number }[]>`
    select floor(extract(epoch from created_at))::float8 as at, methods
    from token_audit.sessions where family_id = ${session.familyId}`
  expect({ amr, at, methods: null }).toEqual({ amr: undefined, ...began })
  const kinds = await kindsOf(app, session.familyId)
  expect(kinds.slice(-2)).toEqual(['rotated', 'rotated'])
})

test('an attempt that the old version carried out gets the successor that it got then', async () => {
  const session = held.sessions['retried']!
  const answer = await present(session, 0, session.attemptIds[1])
  expect(tokenIn(answer, session)).toBe(session.tokens[1])
  expect(await kindsOf(app, session.familyId)).toEqual(['issued', 'rotated', 'replayed'])
})

test('a token that was spent before is found as reuse', async () => {
  const session = held.sessions['to be reused']!
  const answer = await present(session, 0)
  expect(answer).toMatchObject({
    reason: 'refresh_token_reused',
    incidentId: `${session.familyId}:4`,
  })
  expect(await present(session, 2)).toMatchObject({ reason: 'refresh_token_reused' })
})

test.each([
  ['expired', 'session_expired', 'expired', null],
  ['reused', 'refresh_token_reused', 'reuse_detected', 5],
  ['signed out', 'session_revoked', 'logout', 2],
  ['revoked by an admin', 'session_revoked', 'admin_revoked', 2],
  ['user disabled', 'session_revoked', 'user_disabled', 2],
  ['erased', 'session_revoked', 'logout_everywhere', 3],
])('a session that ended before says why: %s', async (name, reason, endReason, endSeq) => {
  const session = held.sessions[name]!
  const incidentId = endSeq === null ? undefined : `${session.familyId}:${endSeq}`
  const answer = await present(session, session.tokens.length - 1)
  expect(answer).toMatchObject({ status: 401, reason, incidentId })
  const [row] = await owner.ownerSql`
    select end_reason, incident_id from token_audit.sessions where family_id = ${session.familyId}`
  expect(row).toEqual({ end_reason: endReason, incident_id: incidentId ?? null })
})

test('a token of an archived month answers session_revoked', async () => {
  const session = held.sessions['archived']!
  expect(
    await owner.ownerSql`select from token_audit.sessions
    where family_id = ${session.familyId}`,
  ).toHaveLength(0)
  for (const generation of [0, 1])
    expect(await present(session, generation)).toMatchObject({
      status: 401,
      reason: 'session_revoked',
    })
})

test('users of before keep their ids, and one with an id of any text joins them', async () => {
  const user = { id: 'auth0|new', email: 'new@example.com', role: 'user', disabled: false } as const
  const [begun] = await beginSessions(owner.url, user, 1)
  const [row] = await owner.ownerSql`
    select user_id, subject from token_audit.sessions where family_id = ${begun!.familyId}`
  expect(row).toEqual({ user_id: ledgerIdOf(user.id), subject: user.id })
  const others = await owner.ownerSql`
    select from token_audit.events
    where family_id <> ${begun!.familyId} and subject is distinct from user_id::text`
  expect(others).toHaveLength(0)
  expect(await owner.ownerSql`select * from token_audit.verify_ledger()`).toEqual([])
})

test('an erased person stays erased', async () => {
  const traces = await owner.ownerSql`
    select email, ip, user_agent from token_audit.events
    where user_id = ${held.userIds['cleo@example.com']!}`
  expect(traces.length).toBeGreaterThan(0)
  for (const trace of traces) expect(trace).toEqual({ email: null, ip: null, user_agent: null })
  expect(await signIn('cleo@example.com')).toMatchObject({ reason: 'invalid_credentials' })
})

test('people sign in with the passwords they had; a disabled user does not', async () => {
  const answer = await signIn('ada@example.com')
  expect(answer.data.user).toEqual({
    id: held.userIds['ada@example.com'],
    email: 'ada@example.com',
    role: 'admin',
  })
  expect(await query(app.url, 'me', answer.data.accessToken)).toMatchObject({
    status: 200,
    data: { methods: ['pwd'] },
  })
  expect(await signIn('dora@example.com')).toMatchObject({ reason: 'invalid_credentials' })
})

test('the signing key of before signs until its successor is known to every verifier', async () => {
  const { data } = await signIn('ben@example.com')
  const header = Buffer.from(data.accessToken.split('.')[0], 'base64url').toString()
  expect(JSON.parse(header)).toMatchObject({ kid: signingKeysBefore.at(-1) })
  const response = await fetch(`${app.url}/.well-known/jwks.json`)
  const { keys } = (await response.json()) as { keys: { kid: string }[] }
  expect(keys).toHaveLength(2)
})

test('after all of this the ledger is intact', async () => {
  expect(await owner.ownerSql`select * from token_audit.verify_ledger()`).toEqual([])
  expect((await verifyExport(await exportLines(app.database))).problems).toEqual([])
})

/** Everything that the old version stored of every event, as text. */
async function readEvents(): Promise<string> {
  const [row] = await owner.ownerSql<{ all: string }[]>`
    select string_agg((to_jsonb(e) - 'methods' - 'authenticated_at')::text, ',' order by family_id, seq) as all
    from token_ledger.token_event e`
  return row!.all
}

function present(
  session: HeldSession,
  generation: number,
  attemptId = null as string | null | undefined,
): Promise<Answer> {
  const attempt = attemptId == null ? {} : { attemptId }
  const token = session.tokens[generation]
  return session.transport === 'cookie'
    ? fromPage(app, 'refresh', `refresh_token=${token}`, attempt)
    : auth(app.url, 'refresh', { ...attempt, refreshToken: token })
}

function tokenIn(answer: Answer, { transport }: HeldSession): string {
  return transport === 'cookie' ? (refreshCookieIn(answer) ?? '') : answer.data.refreshToken
}

function signIn(email: string): Promise<Answer> {
  return auth(app.url, 'login', { email, password: held.passwords[email], transport: 'body' })
}
