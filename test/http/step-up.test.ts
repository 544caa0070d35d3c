import { randomUUID } from 'node:crypto'
import { createTRPCClient } from '@trpc/client'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createAuthClient } from '../../client/index.ts'
import { authLink, type AppRouter } from '../../client/trpc.ts'
import type { ProvedAgain, RefusedProof } from '../../server/index.ts'
import { startApp, type TestApp } from '../support/app.ts'
import { moveClock } from '../support/clock.ts'
import { claimsOf } from '../support/forge.ts'
import { auth, mutate, query, refreshCookieIn, type Answer } from '../support/http.ts'
import { procedures, type Procedure } from '../support/procedures.ts'
import { fromPage, kindsOf, signIn, signInWithCookie } from '../support/sessions.ts'
import { makeUser, testPassword } from '../support/users.ts'

let app: TestApp
const wrong = 'not the password at all'
const tenMinutesMs = 600_000

beforeAll(async () => {
  app = await startApp(
    { RATE_LIMITS: 'on' },
    {
      // The service would otherwise take over the time of the sign-ins that this file begins long ago.
      signingKeyReloadMs: 3_600_000,
      // A proof of the team's own: it believes what the request says.
      addRoutes: (own) =>
        own.post<{ Body: ProvedAgain }>('/auth/passkey', async (request, reply) => {
          const { methods, user } = request.body
          try {
            return {
              result: { data: await own.reauthenticated(request, reply, { methods, user }) },
            }
          } catch (error) {
            const { statusCode, body } = error as RefusedProof
            return reply.code(statusCode).send(body)
          }
        }),
    },
  )
})
afterAll(() => app?.[Symbol.asyncDispose]())

const mutations = procedures.filter(({ type }) => type === 'mutation')
/** What asks for a recent authentication: an account's own password and sessions, and each change by an admin. */
const asking = mutations.filter(({ url }) =>
  /^\/trpc\/(?:admin\..*|account\.changePassword|sessions\.revokeOthers)$/.test(url),
)

test('PW-12 (ASVS 7.5.1): each change by an admin, changePassword and revokeOthers ask for an authentication of the last ten minutes; nothing else does', async () => {
  const admin = await makeUser(app.owner.url)
  await app.owner.ownerSql`
    update token_ledger.user_account set role = 'admin' where email = ${admin.email}`
  const late = await signInLongAgo(admin.email)
  const calls = procedures.filter(
    ({ url, type }) => type !== 'subscription' && url.startsWith('/trpc/'),
  )
  const refused: string[] = []
  for (const procedure of calls) {
    const answer = await call(procedure, late.accessToken)
    if (answer.reason !== 'step_up_required') continue
    refused.push(procedure.url)
    expect(answer.status).toBe(401)
    expect(answer.body.error.data.maxAgeSeconds).toBe(600)
    expect(answer.headers.get('www-authenticate')).toBe(
      'Bearer realm="token-ledger", error="insufficient_user_authentication", ' +
        'error_description="A more recent authentication is required.", max_age=600',
    )
  }
  expect(refused).toEqual(asking.map(({ url }) => url))
  expect(refused.length).toBeGreaterThan(7)

  const done = await auth(app.url, 'reauthenticate', { ...attemptOf(late), password: testPassword })
  for (const procedure of asking)
    expect((await call(procedure, done.data.accessToken)).reason).not.toBe('step_up_required')
})

test('a session signed in nine minutes ago may act, and one of eleven minutes may not, however often it was refreshed', async () => {
  const { email } = await makeUser(app.owner.url)
  for (const [minutes, reason] of [
    [9, undefined],
    [11, 'step_up_required'],
  ] as const) {
    const { accessToken } = await signInLongAgo(email, minutes * 60_000)
    const answer = await mutate(app.url, 'sessions.revokeOthers', accessToken)
    expect([minutes, answer.reason]).toEqual([minutes, reason])
  }
})

test('the client asks for the password where a call needs it, and the call runs once with the new token', async () => {
  let asked = 0
  const client = createAuthClient({
    baseUrl: app.url,
    transport: 'body',
    async onStepUp({ maxAgeSeconds }) {
      expect(maxAgeSeconds).toBe(600)
      asked += 1
      await client.reauthenticate({ password: testPassword })
      return true
    },
  })
  const { email } = await makeUser(app.owner.url)
  await moveClock(app.owner.ownerSql, -2 * tenMinutesMs)
  await client.login({ email, password: testPassword })
  await moveClock(app.owner.ownerSql, 0)
  await client.refresh()
  const trpc = createTRPCClient<AppRouter>({ links: [authLink(client)] })
  expect(await trpc.sessions.revokeOthers.mutate()).toEqual({ revoked: 0 })
  expect(asked).toBe(1)
  client.dispose()
})

test('a body session proves its password again: new tokens, which say so, and the old access token still lacks it', async () => {
  const late = await signInLongAgo()
  const before = Date.now()
  const { status, data } = await auth(app.url, 'reauthenticate', {
    ...attemptOf(late),
    password: testPassword,
  })
  expect(status).toBe(200)
  expect(data).toMatchObject({ familyId: late.familyId, isReauthenticated: true })
  expect(data.refreshToken).not.toBe(late.refreshToken)
  const [old, now] = [late.accessToken, data.accessToken].map(authTimeOf) as [number, number]
  expect(now * 1000).toBeGreaterThanOrEqual(before - 2_000)
  expect(old).toBeLessThanOrEqual(now - 600)
  const next = await auth(app.url, 'refresh', { refreshToken: data.refreshToken })
  expect(authTimeOf(next.data.accessToken)).toBe(now)
  expect(await kindsOf(app, late.familyId)).toEqual([
    'issued',
    'rotated',
    'reauthenticated',
    'rotated',
  ])
})

test('a cookie session gets its new token in the cookie alone, and a request of another origin is refused', async () => {
  const { cookie, familyId } = await signInWithCookie(app)
  const input = { attemptId: randomUUID(), password: testPassword }
  const foreign = { cookie, origin: 'https://evil.example.com' }
  expect(await auth(app.url, 'reauthenticate', input, foreign)).toMatchObject({
    reason: 'origin_not_allowed',
  })
  const answer = await fromPage(app, 'reauthenticate', cookie, input)
  expect(answer.data).toMatchObject({ familyId, isReauthenticated: true })
  expect(answer.data).not.toHaveProperty('refreshToken')
  expect(refreshCookieIn(answer)).toMatch(/^tlr1\./)
  expect(refreshCookieIn(answer)).not.toBe(cookie.split('=')[1])
})

test("a proof of the app's own does the same with its methods, by the client, and not for another user", async () => {
  const { email } = await makeUser(app.owner.url)
  const client = createAuthClient({ baseUrl: app.url, transport: 'body' })
  const { user, familyId } = await client.login({ email, password: testPassword })
  const prove = (proof: Partial<ProvedAgain>) =>
    client.reauthenticate({ route: 'passkey', methods: ['hwk'], ...proof })
  for (const [proof, reason] of [
    [{ user: randomUUID() }, 'invalid_credentials'],
    [{ methods: [] }, 'validation_failed'],
    [{ methods: ['not a word'] }, 'validation_failed'],
  ] as const)
    await expect(prove(proof)).rejects.toMatchObject({ reason })
  await prove({ user: user.id })
  const token = (await client.getAccessToken()) ?? ''
  expect(claimsOf(token)).toMatchObject({ sid: familyId, amr: ['hwk'] })
  expect((await mutate(app.url, 'sessions.revokeOthers', token)).status).toBe(200)
  client.dispose()
  expect(await kindsOf(app, familyId)).toEqual(['issued', 'reauthenticated'])

  const { cookie, familyId: other } = await signInWithCookie(app, email)
  const input = { attemptId: randomUUID(), methods: ['hwk'], user: user.id }
  const evil = { cookie, origin: 'https://evil.example.com' }
  expect(await auth(app.url, 'passkey', input, evil)).toMatchObject({
    reason: 'origin_not_allowed',
  })
  const answer = await fromPage(app, 'passkey', cookie, input)
  expect(answer.data).toMatchObject({ familyId: other, isReauthenticated: true })
  expect(refreshCookieIn(answer)).toMatch(/^tlr1\./)
})

test('without an attempt id, a password or a token it is refused, and nothing is written', async () => {
  const session = await signIn(app)
  const { refreshToken } = session
  const attemptId = randomUUID()
  const cases: [object, string][] = [
    [{ refreshToken, password: testPassword }, 'validation_failed'],
    [{ refreshToken, attemptId }, 'validation_failed'],
    [{ attemptId, password: testPassword }, 'refresh_token_missing'],
    [{ refreshToken: 'tlr1.x', attemptId, password: testPassword }, 'refresh_token_malformed'],
  ]
  for (const [input, reason] of cases)
    expect(await auth(app.url, 'reauthenticate', input)).toMatchObject({ reason })
  expect(await kindsOf(app, session.familyId)).toEqual(['issued'])
})

test('a wrong password replaces nothing, and the session goes on', async () => {
  const session = await signIn(app)
  const answer = await auth(app.url, 'reauthenticate', { ...attemptOf(session), password: wrong })
  expect(answer).toMatchObject({ status: 401, reason: 'invalid_credentials' })
  const { refreshToken } = session
  expect((await auth(app.url, 'refresh', { refreshToken })).status).toBe(200)
  expect(await kindsOf(app, session.familyId)).toEqual(['issued', 'rotated'])
})

test('a session that has ended, and a disabled user, prove nothing', async () => {
  const session = await signIn(app)
  await auth(app.url, 'logout', { refreshToken: session.refreshToken })
  const input = { ...attemptOf(session), password: testPassword }
  expect(await auth(app.url, 'reauthenticate', input)).toMatchObject({ reason: 'session_revoked' })
  const other = await signIn(app)
  await app.owner.ownerSql`
    update token_ledger.user_account set disabled_at = now() where user_id = ${other.userId}`
  const again = { ...attemptOf(other), password: testPassword }
  expect((await auth(app.url, 'reauthenticate', again)).status).toBe(401)
  expect(await kindsOf(app, other.familyId)).toEqual(['issued'])
})

test('PW-10 (ASVS 6.3.1): guesses by reauthenticate are counted as those of a sign-in', async () => {
  const session = await signIn(app)
  const input = { ...attemptOf(session), password: wrong }
  const reasons: (string | undefined)[] = []
  for (let guess = 0; guess < 21; guess += 1)
    reasons.push((await auth(app.url, 'reauthenticate', input)).reason)
  expect(new Set(reasons.slice(0, 10))).toEqual(new Set(['invalid_credentials']))
  expect(reasons.at(-1)).toBe('too_many_attempts')
  const right = { ...attemptOf(session), password: testPassword }
  expect((await auth(app.url, 'reauthenticate', right)).reason).toBe('too_many_attempts')
})

/** Signs in so long ago, and refreshes now. */
async function signInLongAgo(email?: string, agoMs = tenMinutesMs + 60_000) {
  await moveClock(app.owner.ownerSql, -agoMs)
  const session = await signIn(app, email)
  await moveClock(app.owner.ownerSql, 0)
  const { data } = await auth(app.url, 'refresh', { refreshToken: session.refreshToken })
  return { ...session, accessToken: data.accessToken, refreshToken: data.refreshToken }
}

function attemptOf({ refreshToken }: { refreshToken: string }) {
  return { refreshToken, attemptId: randomUUID() }
}

function call({ url, type, sample }: Procedure, accessToken: string): Promise<Answer> {
  const name = url.replace('/trpc/', '')
  return type === 'mutation'
    ? mutate(app.url, name, accessToken, sample)
    : query(app.url, name, accessToken, sample)
}

const authTimeOf = (accessToken: string) => Number(claimsOf(accessToken)['auth_time'])
