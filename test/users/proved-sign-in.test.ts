import { randomUUID } from 'node:crypto'
import fastify, { type FastifyInstance } from 'fastify'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { connect, type Database } from '../../db/connection/connect.ts'
import { buildApp, loadConfig, tokenLedger, type ProvedSignIn } from '../../server/index.ts'
import { endAllSessions } from '../../server/sessions/revocation.ts'
import { startSession } from '../../server/sessions/sign-in.ts'
import { serviceUrl } from '../support/admin.ts'
import { freshDatabase, type FreshDatabase } from '../support/database.ts'
import { claimsOf } from '../support/forge.ts'
import { auth, refreshCookieIn, type Answer } from '../support/http.ts'
import { freePort, testSecret } from '../support/server.ts'
import { makeUser, testPassword } from '../support/users.ts'

const signInToken = 'a credential of the sign-in service: q7Lw4Xr8Vb1M'
const page = 'https://app.example.com'

let owner: FreshDatabase
let database: Database
const closing: (() => Promise<void>)[] = []
/** What the two apps have logged. */
const lines: string[] = []
/** One built by `buildApp`, one with the plugin. Both have a route of the team's own. */
const urls = { buildApp: '', plugin: '' }

beforeAll(async () => {
  owner = await freshDatabase()
  database = connect(serviceUrl(owner.url), { role: 'token_ledger_app' })
  for (const kind of ['buildApp', 'plugin'] as const) {
    const port = await freePort()
    const config = loadConfig({
      PORT: String(port),
      AUTH_SECRET: testSecret,
      ALLOWED_ORIGINS: page,
      SIGN_IN_TOKEN: signInToken,
    })
    const stream = { write: (line: string) => void lines.push(line) }
    let app: FastifyInstance
    if (kind === 'buildApp') {
      const { log: logger } = fastify({ logger: { level: 'trace', stream } })
      app = await buildApp({ config, database, logger })
    } else {
      app = fastify({ logger: { level: 'trace', stream } })
      await app.register(tokenLedger, { config, database })
    }
    // A sign-in of the team's own: it believes what the request says.
    app.route<{ Body: ProvedSignIn; Querystring: { user: string } }>({
      method: ['POST'],
      url: '/proved',
      handler: (request, reply) => app.startSession(request, reply, request.body),
    })
    app.get<{ Querystring: { user: string } }>('/callback', async (request, reply) => {
      const { user } = request.query
      await app.startSession(request, reply, { user, methods: ['fed'], transport: 'cookie' })
      return reply.redirect('/')
    })
    await app.listen({ host: '127.0.0.1', port })
    closing.push(() => app.close())
    urls[kind] = `http://127.0.0.1:${port}`
  }
})
afterAll(async () => {
  for (const close of closing) await close()
  await database.close()
  await owner[Symbol.asyncDispose]()
})

type SignIn = Partial<Omit<ProvedSignIn, 'authenticatedAt'>> & { readonly user: string } & Record<
    string,
    unknown
  >

const proof = { methods: ['fed', 'otp'], transport: 'body' } as const

async function post(url: string, body: object, headers: Record<string, string> = {}) {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  })
  const text = await response.text()
  return { status: response.status, headers: response.headers, body: JSON.parse(text) }
}

/** The three ways in which a session begins by a proof of the team's own, with the same result. */
const ways: Record<string, (signIn: SignIn) => Promise<any>> = {
  'the plugin': async (signIn) => (await post(`${urls.plugin}/proved`, signIn)).body,
  'the app of buildApp': async (signIn) => (await post(`${urls.buildApp}/proved`, signIn)).body,
  'the service credential': async (signIn) => (await asService(signIn)).body.result?.data,
}

function asService(
  { authenticatedAt, ...signIn }: SignIn,
  headers: Record<string, string> = { authorization: `Bearer ${signInToken}` },
) {
  const at =
    typeof authenticatedAt === 'number' ? new Date(authenticatedAt).toISOString() : undefined
  const body = { attemptId: randomUUID(), ...signIn, ...(at && { authenticatedAt: at }) }
  return post(`${urls.buildApp}/auth/sessions`, body, headers)
}

const refresh = (refreshToken: string): Promise<Answer> =>
  auth(urls.plugin, 'refresh', { refreshToken })

async function countRows() {
  const [row] = await owner.ownerSql`
    select
      (select count(*) from token_ledger.token_family)::int as families,
      (select count(*) from token_ledger.token_event)::int as events`
  return row
}

describe.each(Object.entries(ways))('a family that %s began', (_name, begin) => {
  test('rotates, keeps its methods and their instant, and is found when it is stolen', async () => {
    const { id } = await makeUser(owner.url)
    const at = Math.floor(Date.now() / 1000 - 600) * 1000
    const grant = await begin({ ...proof, user: id, authenticatedAt: at, deviceName: 'phone' })
    expect(grant).toMatchObject({
      tokenType: 'Bearer',
      user: { id },
      refreshToken: expect.any(String),
    })
    const second = await refresh(grant.refreshToken)
    const third = await refresh(second.data.refreshToken)
    for (const token of [grant.accessToken, third.data.accessToken])
      expect(claimsOf(token)).toMatchObject({ amr: proof.methods, auth_time: at / 1000 })
    const stolen = await refresh(grant.refreshToken)
    expect(stolen).toMatchObject({ status: 401, reason: 'refresh_token_reused' })

    const [session] = await owner.ownerSql`
      select status, methods, authenticated_at, device_name
      from token_audit.sessions where family_id = ${grant.familyId}`
    expect(session).toEqual({
      status: 'reuse_detected',
      methods: proof.methods,
      authenticated_at: new Date(at),
      device_name: 'phone',
    })
    const [then] = await owner.ownerSql`
      select s.status, s.methods, s.authenticated_at
      from token_audit.events e
      cross join lateral token_audit.session_state_at(e.family_id, e.occurred_at) s
      where e.family_id = ${grant.familyId} and e.seq = 1`
    expect(then).toEqual({
      status: 'active',
      methods: proof.methods,
      authenticated_at: new Date(at),
    })
  })

  test('never outlives an end of everything that races the sign-in', async () => {
    const { id } = await makeUser(owner.url)
    const deps = { sql: database.transactions, logSecurityEvent: () => {} }
    const by = {
      reason: 'logout_everywhere',
      actorUserId: id,
      caller: { ip: null, userAgent: null },
    } as const
    for (let i = 0; i < 6; i++) {
      const [grant] = await Promise.all([
        begin({ ...proof, user: id }),
        endAllSessions(deps, id, { by }),
      ])
      // Either it was refused, or it began after the end of everything, or it was ended by it.
      const [last] = await owner.ownerSql<{ kind: string }[]>`
        select kind from token_audit.events where user_id = ${id} order by occurred_at desc limit 1`
      const active = await owner.ownerSql`
        select family_id from token_audit.sessions where user_id = ${id} and status = 'active'`
      if (active.length > 0)
        expect([grant.familyId, last!.kind]).toEqual([active[0]!.family_id, 'issued'])
      await endAllSessions(deps, id, { by })
    }
  })
})

test('a sign-in that has read its epoch before everything was ended begins no session', async () => {
  const { id } = await makeUser(owner.url)
  const user = { id, email: 'a@example.com', role: 'user', disabled: false } as const
  const caller = { ip: null, userAgent: null }
  const deps = { sql: database.transactions, logSecurityEvent: () => {} }
  await endAllSessions(deps, id, {
    by: { reason: 'logout_everywhere', actorUserId: id, caller },
  })
  const policy = { idleMs: 1_000, absoluteMs: 1_000, maxSessionsPerUser: 1 }
  const late = startSession({ ...deps, policy } as never, {
    user,
    caller,
    epoch: 0,
    transport: 'body',
    deviceName: null,
    methods: ['fed'],
  })
  await expect(late).rejects.toMatchObject({ reason: 'session_revoked' })
})

describe('the service credential is refused, in one way and with nothing written', () => {
  const bearer = { authorization: `Bearer ${signInToken}` }
  type Who = () => Promise<{ user: string }>
  test.each<[string, Who, Record<string, string>]>([
    ['a wrong token', anyUser, { authorization: `Bearer ${signInToken}x` }],
    [
      'a token of the same length',
      anyUser,
      { authorization: bearer.authorization.replace('q7', 'x7') },
    ],
    ['no token', anyUser, {}],
    ['a page that has the token', anyUser, { ...bearer, origin: page }],
    ['a disabled user', disabledUser, bearer],
    ['a user who does not exist', unknownUser, bearer],
    ['an id of another directory', async () => ({ user: 'auth0|17' }), bearer],
  ])('%s', async (_what, who, headers) => {
    await expectRefused({ ...proof, ...(await who()) }, headers)
  })

  test('an attemptId that was used', async () => {
    const signIn = { ...proof, ...(await anyUser()), attemptId: randomUUID() }
    expect((await asService(signIn)).status).toBe(200)
    await expectRefused(signIn, bearer)
  })

  async function expectRefused(signIn: SignIn, headers: Record<string, string>): Promise<void> {
    const before = await countRows()
    const answer = await asService(signIn, headers)
    expect(answer.status).toBe(401)
    expect(answer.body.error.data).toMatchObject({ reason: 'sign_in_refused', path: 'sessions' })
    expect(answer.headers.getSetCookie()).toEqual([])
    expect(await countRows()).toEqual(before)
    const logged = lines.findLast((line) => line.includes('"call_refused"'))
    expect(JSON.parse(logged!)).toMatchObject({ procedure: 'sessions', reason: 'sign_in_refused' })
  }

  test('no log line of all these holds the credential', () => {
    expect(lines.length).toBeGreaterThan(20)
    expect(lines.filter((line) => line.includes(signInToken))).toEqual([])
  })
})

test('one attemptId, ten times at once in two processes, starts one session', async () => {
  const { id: user } = await makeUser(owner.url)
  const body = { ...proof, user, attemptId: randomUUID() }
  const answers = await Promise.all(
    Array.from({ length: 10 }, (_, i) =>
      post(`${i % 2 ? urls.plugin : urls.buildApp}/auth/sessions`, body, {
        authorization: `Bearer ${signInToken}`,
      }),
    ),
  )
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
  const sessions = await owner.ownerSql`select from token_audit.sessions where user_id = ${user}`
  expect(sessions).toHaveLength(1)
})

test('the ledger has the address and the user agent that the service sends, and none without', async () => {
  const { id: user } = await makeUser(owner.url)
  const of = async (about: object) => {
    const { body } = await asService({ ...proof, user, ...about })
    const [row] = await owner.ownerSql`
      select host(ip) as ip, user_agent from token_audit.sessions
      where family_id = ${body.result.data.familyId}`
    return row
  }
  expect(await of({ ip: '2001:db8::7', userAgent: 'Firefox' })).toEqual({
    ip: '2001:db8::7',
    user_agent: 'Firefox',
  })
  expect(await of({})).toEqual({ ip: null, user_agent: null })
})

describe.each(['buildApp', 'plugin'] as const)("a route of the team's own (%s)", (kind) => {
  test('sets the refresh cookie after an allowed Origin, and refuses another', async () => {
    const { id: user } = await makeUser(owner.url)
    const signIn = { user, methods: ['hwk'], transport: 'cookie' }
    const answer = await post(`${urls[kind]}/proved`, signIn, { origin: page })
    expect(answer.status).toBe(200)
    expect(answer.body.refreshToken).toBeUndefined()
    expect(answer.headers.get('cache-control')).toBe('no-store')
    const cookie = refreshCookieIn(answer as never)
    const next = await fetch(`${urls[kind]}/auth/refresh`, {
      method: 'POST',
      headers: {
        origin: page,
        cookie: answer.headers.getSetCookie().at(-1)!.split(';')[0]!,
      },
    })
    expect([cookie !== undefined, next.status]).toEqual([true, 200])

    const before = await countRows()
    const foreign = await post(`${urls[kind]}/proved`, signIn, { origin: 'https://evil.example' })
    expect(foreign.status).toBe(403)
    expect(await countRows()).toEqual(before)
  })

  test('an identity provider redirects to a callback by GET, without an Origin', async () => {
    const { id: user } = await makeUser(owner.url)
    const answer = await fetch(`${urls[kind]}/callback?user=${user}`, { redirect: 'manual' })
    expect([answer.status, answer.headers.getSetCookie().length]).toEqual([302, 1])
  })

  test('is refused for a disabled user, and for a proof that no ledger takes', async () => {
    const before = await countRows()
    const { user } = await disabledUser()
    const refused = await post(`${urls[kind]}/proved`, { ...proof, user })
    expect([refused.status, refused.body.message]).toEqual([401, 'The sign-in was refused.'])
    for (const methods of [[], ['two words'], ['x'.repeat(51)]])
      expect((await post(`${urls[kind]}/proved`, { ...proof, user, methods })).status).toBe(400)
    expect(await countRows()).toEqual(before)
  })
})

test('sign-ins of the team’s own have a budget for each user', async () => {
  const { id: user } = await makeUser(owner.url)
  const statuses: number[] = []
  for (let i = 0; i < 31; i++) statuses.push((await asService({ ...proof, user })).status)
  expect(statuses).toEqual([...Array.from({ length: 30 }, () => 200), 429])
})

test('the methods of a password are pwd', async () => {
  const { email } = await makeUser(owner.url)
  const { data } = await auth(urls.plugin, 'login', {
    email,
    password: testPassword,
    transport: 'body',
  })
  expect(claimsOf(data.accessToken)).toMatchObject({ amr: ['pwd'] })
})

async function anyUser(): Promise<{ user: string }> {
  const { id } = await makeUser(owner.url)
  return { user: id }
}

async function unknownUser(): Promise<{ user: string }> {
  return { user: randomUUID() }
}

async function disabledUser(): Promise<{ user: string }> {
  const { id } = await makeUser(owner.url)
  await owner.ownerSql`
    update token_ledger.user_account set disabled_at = token_ledger.clock() where user_id = ${id}`
  return { user: id }
}
