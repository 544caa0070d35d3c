import { randomBytes } from 'node:crypto'
import { decodeJwt } from 'jose'
import { describe, expect, test } from 'vitest'
import { readEpoch } from '../../db/ledger/locks.ts'
import { buildApp, loadConfig } from '../../server/index.ts'
import { deriveSuccessor } from '../../server/tokens/refresh-token.ts'
import { createRotation } from '../../server/sessions/rotation.ts'
import type { SecurityEvent } from '../../server/observability/security-log.ts'
import { startSession } from '../../server/sessions/sign-in.ts'
import { asAdmin, databaseUrl } from '../support/admin.ts'
import { startApp, type TestApp } from '../support/app.ts'
import { moveClock, stopClock } from '../support/clock.ts'
import { auth, query, refreshCookieIn } from '../support/http.ts'
import { startLedger, testCaller } from '../support/ledger.ts'
import { lockFamily } from '../support/locks.ts'
import { kindsOf, signIn } from '../support/sessions.ts'
import { testSecret } from '../support/server.ts'
import { makeUser, testPassword } from '../support/users.ts'
import { waitFor } from '../support/wait.ts'

const { ip } = testCaller
const forged = `tlr1.${'A'.repeat(91)}`

test('RT-06, RT-22, RT-24 (ASVS 2.2.1): a token that is not authentic costs no query and revokes no session', async () => {
  await using app = await startApp()
  const { refreshToken, familyId } = await signIn(app)
  const mangled = `${refreshToken.slice(0, -4)}AAAA`
  await allowConnections(app, false)
  for (const token of [forged, mangled]) {
    const answer = await auth(app.url, 'refresh', { refreshToken: token })
    expect(answer).toMatchObject({ status: 401, reason: 'refresh_token_malformed' })
  }
  // The database is really unavailable: an authentic token is answered 503, and nothing has changed.
  const away = await auth(app.url, 'refresh', { refreshToken })
  expect(away).toMatchObject({ status: 503, reason: 'service_unavailable' })
  expect(Number(away.headers.get('retry-after'))).toBeGreaterThan(0)
  await allowConnections(app, true)
  expect(await kindsOf(app, familyId)).toEqual(['issued'])
  // The next try to connect waits a moment.
  await waitFor(async () => (await auth(app.url, 'refresh', { refreshToken })).status === 200)
})

test('an authentic token whose secret was never issued is refused and does not end its family', async () => {
  await using ledger = await startLedger()
  const session = await ledger.start(await ledger.makeUser())
  await ledger.refresh(session)
  // An attacker with the server's secret and an old token, but without the ledger, can make such a token.
  const token = deriveSuccessor(ledger.deps.refreshKeys[0], session.token, randomBytes(16))
  await expect(ledger.refresh({ ...session, token })).rejects.toMatchObject({
    reason: 'refresh_token_malformed',
  })
  const events = await ledger.owner.ownerSql`
    select kind from token_ledger.token_event where family_id = ${session.familyId} order by seq`
  expect(events.map(({ kind }) => kind)).toEqual(['issued', 'rotated'])
})

test('AT-15 (RFC 9068 §2.2): an access token does not outlive its session, because no end is notified when a session expires', async () => {
  const seconds = { REFRESH_IDLE_SECONDS: '20', REFRESH_ABSOLUTE_SECONDS: '30' }
  await using app = await startApp(seconds)
  const { accessToken, refreshToken } = await signIn(app)
  const lifetimeOf = (token: string) => decodeJwt(token).exp! - decodeJwt(token).iat!
  expect(lifetimeOf(accessToken)).toBe(20)
  await moveClock(app.owner.ownerSql, 15_000)
  const { data } = await auth(app.url, 'refresh', { refreshToken })
  expect(data.expiresIn).toBe(lifetimeOf(data.accessToken))
  // Of the thirty, a little more than fifteen have passed.
  expect(data.expiresIn).toBeLessThan(15)
  expect(data.expiresIn).toBeGreaterThan(5)
})

test('a sign-out of a session that has ended waits for no lock', async () => {
  await using app = await startApp()
  const { refreshToken, familyId } = await signIn(app)
  expect((await auth(app.url, 'logout', { refreshToken })).data.revoked).toBe(1)
  const holder = await lockFamily(app, familyId)
  expect((await auth(app.url, 'logout', { refreshToken })).data.revoked).toBe(0)
  await holder`rollback`
  holder.release()
})

describe('REUSE_SCOPE', () => {
  test.each([
    ['family', 'active'],
    ['user', 'revoked'],
  ])(
    'RT-05 (RFC 9700 §4.14.2): with %s, other sessions of the user are %s after a reuse',
    async (scope, status) => {
      await using app = await startApp({ REUSE_SCOPE: scope })
      const stolen = await signIn(app)
      const other = await signIn(app, stolen.email)
      const stranger = await signIn(app)
      await auth(app.url, 'refresh', { refreshToken: stolen.refreshToken })
      await moveClock(app.owner.ownerSql, 10_000)
      const reused = await auth(app.url, 'refresh', { refreshToken: stolen.refreshToken })
      expect(reused).toMatchObject({
        reason: 'refresh_token_reused',
        incidentId: `${stolen.familyId}:3`,
      })
      const rows = await app.owner.ownerSql`
      select family_id, status, end_reason from token_audit.sessions`
      const byId = new Map(rows.map((row) => [row.family_id, row]))
      expect(byId.get(stolen.familyId)?.status).toBe('reuse_detected')
      expect(byId.get(other.familyId)).toMatchObject({
        status,
        end_reason: status === 'active' ? null : 'reuse_elsewhere',
      })
      expect(byId.get(stranger.familyId)?.status).toBe('active')
    },
  )

  test.each([
    { scope: 'family', outcome: 'succeeds', isVoid: false },
    { scope: 'user', outcome: 'is refused', isVoid: true },
  ] as const)(
    'with $scope, a sign-in that began before a reuse $outcome',
    async ({ scope, isVoid }) => {
      await using ledger = await startLedger({ reuseScope: scope, graceMs: 0 })
      const events: SecurityEvent[] = []
      const deps = {
        ...ledger.deps,
        logSecurityEvent: (event: SecurityEvent) => void events.push(event),
      }
      const { rotate } = createRotation(deps)
      const user = await ledger.makeUser()
      const stolen = await ledger.start(user)
      const other = await ledger.start(user)
      await ledger.refresh(stolen)
      const epoch = await readEpoch(ledger.database, user.id)
      const { token, transport } = stolen
      const reuse = rotate({ token, transport, attemptId: null, caller: testCaller })
      await expect(reuse).rejects.toMatchObject({ reason: 'refresh_token_reused' })
      const late = ledger.start(user, { epoch })
      if (isVoid) await expect(late).rejects.toMatchObject({ reason: 'session_revoked' })
      else await late
      // A sign-in from now on succeeds, and each end is logged once.
      await ledger.start(user, { epoch: await readEpoch(ledger.database, user.id) })
      const ended = {
        event: 'session_revoked',
        familyId: other.familyId,
        reason: 'reuse_elsewhere',
      }
      expect(events).toEqual([
        ...(isVoid ? [expect.objectContaining(ended)] : []),
        { event: 'reuse_detected', familyId: stolen.familyId, userId: user.id, ip },
      ])
    },
  )
})

test('a sign-in that is retried logs once which sessions it ended (MAX_SESSIONS_PER_USER)', async () => {
  await using ledger = await startLedger({ maxSessionsPerUser: 1 })
  const events: SecurityEvent[] = []
  const deps = {
    ...ledger.deps,
    logSecurityEvent: (event: SecurityEvent) => void events.push(event),
  }
  const user = await ledger.makeUser()
  const { familyId } = await ledger.start(user)
  // The first try fails late, after it made room, as with a serialization failure.
  await ledger.owner.ownerSql.unsafe(`
    create sequence public.tries;
    grant usage on sequence public.tries to public;
    create function public.fail_once() returns trigger language plpgsql as $$
    begin
      if nextval('public.tries') = 1 then raise exception 'once' using errcode = '40001'; end if;
      return new;
    end $$;
    create trigger a_fail_once before insert on token_ledger.token_family
    for each row execute function public.fail_once()`)
  const next = await startSession(deps, {
    user,
    epoch: 0,
    transport: 'body',
    deviceName: null,
    caller: testCaller,
    methods: ['pwd'],
  })
  expect(events).toEqual([
    {
      event: 'session_revoked',
      familyId,
      userId: user.id,
      reason: 'session_limit',
      actorUserId: null,
      ip,
    },
    { event: 'session_started', familyId: next.familyId, userId: user.id, ip },
  ])
})

test('RT-21 (ASVS 7.1.2): MAX_SESSIONS_PER_USER ends the oldest session with session_limit', async () => {
  await using app = await startApp({ MAX_SESSIONS_PER_USER: '2' })
  const first = await signIn(app)
  const families = [first.familyId]
  for (const seconds of [1, 2]) {
    await moveClock(app.owner.ownerSql, seconds * 60_000)
    families.push((await signIn(app, first.email)).familyId)
  }
  const rows = await app.owner.ownerSql`
    select family_id, status, end_reason from token_audit.sessions order by family_id`
  expect(rows.map((row) => [row.family_id, row.status, row.end_reason])).toEqual([
    [families[0], 'revoked', 'session_limit'],
    [families[1], 'active', null],
    [families[2], 'active', null],
  ])
})

test('a new role and a new address are in the very next access token', async () => {
  await using app = await startApp()
  const { refreshToken, userId, accessToken } = await signIn(app)
  expect(decodeJwt(accessToken)).toMatchObject({ role: 'user' })
  await app.owner.ownerSql`
    update token_ledger.user_account set role = 'admin', email = 'new@example.com'
    where user_id = ${userId}`
  const { data } = await auth(app.url, 'refresh', { refreshToken })
  expect(decodeJwt(data.accessToken)).toMatchObject({ role: 'admin', email: 'new@example.com' })
  expect(data.user).toMatchObject({ role: 'admin', email: 'new@example.com' })
})

describe('AUTH_SECRET', () => {
  const newSecret = 'mQ4vZ8sLk2Xw9Rt6Yb3Nc7Jd1Hf5Gp0AeUiOaSxTzVyBnC'

  test('AUTH_SECRET may be changed with AUTH_SECRET_PREVIOUS: users stay signed in, keys are sealed again', async () => {
    await using app = await startApp()
    const session = await signIn(app)
    const { data: before } = await auth(app.url, 'refresh', { refreshToken: session.refreshToken })
    const env = { AUTH_SECRET: newSecret, PUBLIC_URL: app.url }
    const changed = await startBeside(app, { ...env, AUTH_SECRET_PREVIOUS: testSecret })
    // A lost answer is still repaired, an old token still rotates, an old access token still verifies.
    const again = await auth(changed.url, 'refresh', { refreshToken: session.refreshToken })
    expect(again.data.refreshToken).toBe(before.refreshToken)
    const rotated = await auth(changed.url, 'refresh', { refreshToken: before.refreshToken })
    expect(rotated.status).toBe(200)
    expect((await query(changed.url, 'me', before.accessToken)).status).toBe(200)
    await changed.close()

    // Without the previous secret: keys and new tokens need the new one alone.
    const after = await startBeside(app, env)
    const on = await auth(after.url, 'refresh', { refreshToken: rotated.data.refreshToken })
    expect(on.status).toBe(200)
    expect((await query(after.url, 'me', before.accessToken)).status).toBe(200)
    const old = await auth(after.url, 'refresh', { refreshToken: before.refreshToken })
    expect(old.reason).toBe('refresh_token_malformed')
    await after.close()
  })

  test('an AUTH_SECRET that opens no key of the database stops the start and says what to do', async () => {
    await using app = await startApp()
    await expect(startBeside(app, { AUTH_SECRET: newSecret })).rejects.toThrow(
      /AUTH_SECRET_PREVIOUS/,
    )
  })
})

/** From another database, because a connection cannot close its own. */
async function allowConnections({ owner }: TestApp, allowed: boolean): Promise<void> {
  const name = new URL(owner.url).pathname.slice(1)
  await asAdmin(databaseUrl(owner.url, 'postgres'), async (admin) => {
    await admin.unsafe(`alter database "${name}" with allow_connections ${allowed}`)
    await admin`select pg_terminate_backend(pid) from pg_stat_activity where datname = ${name}`
  })
}

/** Another process of the same service, as after a restart: same database, other environment. */
async function startBeside(
  { database }: TestApp,
  env: Record<string, string>,
): Promise<{ url: string; close(): Promise<void> }> {
  const app = await buildApp({ config: loadConfig({ RATE_LIMITS: 'off', ...env }), database })
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  return { url, close: () => app.close() }
}

describe('CK-01 CK-02 CK-06 (ASVS 3.3.1–3.3.5): the cookie', () => {
  const startAt = Date.UTC(2030, 0, 1)

  test.each([
    ['http', '80-refresh_token', ''],
    ['https', '__Secure-refresh_token', ' Secure;'],
  ])('at %s the cookie is %s', async (scheme, name, secure) => {
    const publicUrl = `${scheme}://auth.example.com`
    await using app = await startApp({ PUBLIC_URL: publicUrl })
    await stopClock(app.owner.ownerSql, startAt)
    const { email } = await makeUser(app.owner.url)
    const headers = { origin: publicUrl }
    const signedIn = await auth(app.url, 'login', { email, password: testPassword }, headers)
    const token = refreshCookieIn(signedIn)
    const week = 7 * 24 * 3600
    expect(signedIn.headers.getSetCookie()).toEqual([
      `${name}=${token}; Max-Age=${week}; Path=/auth; HttpOnly;${secure} SameSite=Strict`,
    ])
    // A replay an hour later gets the remaining lifetime, not a week.
    const attempt = { attemptId: '0190b5d2-0000-4000-8000-000000000009' }
    const withCookie = { ...headers, cookie: `${name}=${token}` }
    const refreshed = await auth(app.url, 'refresh', attempt, withCookie)
    await stopClock(app.owner.ownerSql, startAt + 3600 * 1000)
    const replayed = await auth(app.url, 'refresh', attempt, withCookie)
    expect(replayed.headers.getSetCookie()).toEqual([
      refreshed.headers.getSetCookie()[0]?.replace(`Max-Age=${week}`, `Max-Age=${week - 3600}`),
    ])
    const out = await auth(app.url, 'logout', {}, withCookie)
    expect(out.headers.getSetCookie()).toEqual([
      `${name}=; Max-Age=0; Path=/auth; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly;${secure} SameSite=Strict`,
    ])
  })

  test('a cookie of the other name is ignored', async () => {
    await using app = await startApp()
    const cookie = `__Secure-refresh_token=${forged}; Refresh_Token=${forged}`
    const answer = await auth(app.url, 'refresh', {}, { cookie, origin: app.url })
    expect(answer.reason).toBe('refresh_token_missing')
  })
})
