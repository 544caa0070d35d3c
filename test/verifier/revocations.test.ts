import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type RequestListener, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import { followRevocations } from '../../server/verifier/revocations/follow.ts'
import { createVerifier } from '../../server/verifier/verifier.ts'
import { freshDatabase } from '../support/database.ts'
import { feedToken } from '../support/feed.ts'
import { auth, query } from '../support/http.ts'
import { freePort, startServer } from '../support/server.ts'
import { signIn } from '../support/sessions.ts'
import { startWire } from '../support/wire.ts'
import { startIssuer } from './issuer.ts'
import { adapters, startServices, type Services } from './services-process.ts'

const timeout = 120_000

async function says(services: Services, accessToken: string): Promise<string[]> {
  const answers = await Promise.all(
    adapters.map((adapter) => services.me(adapter, `Bearer ${accessToken}`)),
  )
  return answers.map(({ status, reason }) => (reason ? `${status} ${reason}` : String(status)))
}

const all = (answer: string) => adapters.map(() => answer)
const revoked = all('401 access_token_revoked')
const unavailable = all('503 service_unavailable')
const accepted = all('200')

const outcomeOf = (checked: Promise<unknown>) =>
  checked.then(
    () => 'accepted',
    (error: { reason?: string }) => error.reason,
  )

test(
  'AT-08 (ASVS 7.4.1): a service that follows the feed refuses an ended session soon, answers 503 in an outage, and recovers',
  { timeout },
  async () => {
    await using owner = await freshDatabase()
    const env = { PORT: String(await freePort()), REVOCATIONS_TOKEN: feedToken }
    let server = await startServer(owner.url, env)
    const source = { issuer: server.url, audience: server.url }
    await using careful = await startServices({ ...source, revocations: { token: feedToken } })
    await using lenient = await startServices({
      ...source,
      revocations: { token: feedToken, whenBehind: 'accept' },
    })
    await using stateless = await startServices(source)
    const begin = () => signIn({ url: server.url, owner })
    const [stays, ends, late] = [await begin(), await begin(), await begin()]
    for (const services of [careful, lenient, stateless])
      expect(await says(services, ends.accessToken)).toEqual(accepted)

    await auth(server.url, 'logout', { refreshToken: ends.refreshToken })
    for (const services of [careful, lenient]) {
      await expect.poll(() => says(services, ends.accessToken)).toEqual(revoked)
      expect(await says(services, stays.accessToken)).toEqual(accepted)
    }
    const answer = await careful.me('fastify', `Bearer ${ends.accessToken}`)
    expect(answer.headers.get('www-authenticate')).toContain('error="invalid_token"')
    // A service that does not follow the feed accepts the token until it expires.
    expect(await says(stateless, ends.accessToken)).toEqual(accepted)

    await server.kill('SIGKILL')
    await expect.poll(() => says(careful, stays.accessToken)).toEqual(unavailable)
    expect(await says(careful, ends.accessToken)).toEqual(revoked)
    const retryAfter = (await careful.me('trpc', `Bearer ${stays.accessToken}`)).headers
    expect(retryAfter.get('retry-after')).toBe('1')
    expect(await says(lenient, stays.accessToken)).toEqual(accepted)
    expect(await says(lenient, ends.accessToken)).toEqual(revoked)

    // A new process does not know the id of the last message.
    server = await startServer(owner.url, env)
    await auth(server.url, 'logout', { refreshToken: late.refreshToken })
    for (const services of [careful, lenient]) {
      await expect.poll(() => says(services, late.accessToken)).toEqual(revoked)
      await expect.poll(() => says(services, stays.accessToken)).toEqual(accepted)
      expect(await says(services, ends.accessToken)).toEqual(revoked)
    }
    await server.kill('SIGTERM')
  },
)

test('an end during a cut of the feed is known when the feed is back', { timeout }, async () => {
  await using owner = await freshDatabase()
  await using server = await startServer(owner.url, { REVOCATIONS_TOKEN: feedToken })
  await using wire = await startWire({
    host: '127.0.0.1',
    port: Number(new URL(server.url).port),
  })
  const problems: unknown[] = []
  const verifier = createVerifier({
    issuer: server.url,
    audience: server.url,
    revocations: {
      token: feedToken,
      url: `http://127.0.0.1:${wire.port}/revocations`,
      onProblem: (error) => problems.push(error),
    },
  })
  const said = (token: string) => outcomeOf(verifier.verify(token))
  const begin = () => signIn({ url: server.url, owner })
  const [stays, ends, last] = [await begin(), await begin(), await begin()]
  await expect.poll(() => said(stays.accessToken)).toBe('accepted')
  wire.cut()
  await auth(server.url, 'logout', { refreshToken: ends.refreshToken })
  await expect.poll(() => said(stays.accessToken)).toBe('service_unavailable')
  expect(await said(ends.accessToken)).toBe('service_unavailable')
  // Once for the outage, however often it reconnected.
  expect(problems).toHaveLength(1)
  wire.mend()
  const answers: unknown[] = []
  await expect
    .poll(async () => {
      answers.push(await said(ends.accessToken))
      return answers.at(-1)
    })
    .toBe('access_token_revoked')
  expect(answers).not.toContain('accepted')
  expect(await said(stays.accessToken)).toBe('accepted')

  // A feed that is open and silent does not count as current.
  wire.swallow()
  await expect.poll(() => said(stays.accessToken)).toBe('service_unavailable')
  await expect.poll(() => problems.length).toBe(2)

  verifier.close()
  await auth(server.url, 'logout', { refreshToken: last.refreshToken })
  expect(await said(last.accessToken)).toBe('service_unavailable')
})

test(
  'the first calls wait for the feed, so an older token of an ended session is refused from the start',
  { timeout },
  async () => {
    await using owner = await freshDatabase()
    await using server = await startServer(owner.url, { REVOCATIONS_TOKEN: feedToken })
    const begin = () => signIn({ url: server.url, owner })
    const [stays, ends] = [await begin(), await begin()]
    await auth(server.url, 'logout', { refreshToken: ends.refreshToken })
    const said = async () => (await query(server.url, 'me', ends.accessToken)).reason
    await expect.poll(said).toBe('access_token_revoked')
    const verifier = createVerifier({
      issuer: server.url,
      audience: server.url,
      revocations: { token: feedToken },
    })
    const first = [verifier.verify(ends.accessToken), verifier.verify(stays.accessToken)]
    expect(await Promise.all(first.map(outcomeOf))).toEqual(['access_token_revoked', 'accepted'])
    verifier.close()
  },
)

/** A server that stands where the feed should be. */
async function startInstead(answer: RequestListener) {
  const seen: string[] = []
  const server = createServer((request, response) => {
    seen.push(request.url ?? '')
    answer(request, response)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/revocations`,
    seen,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

const checked = 'event: checked\ndata: {"lagMs":0}\n\n'

/** A feed that lacks sessions, and what the service answers about one. */
const incompleteFeed =
  (about: RequestListener): RequestListener =>
  (request, response) => {
    if (request.url !== '/revocations') return about(request, response)
    response.writeHead(200).write('event: incomplete\ndata: {"lagMs":0}\n\n')
    const timer = setInterval(() => response.write('event: incomplete\ndata: {"lagMs":0}\n\n'), 500)
    response.on('close', () => clearInterval(timer))
  }

const says200 =
  (body: unknown): RequestListener =>
  (_request, response) =>
    void response.end(JSON.stringify(body))

test.each<[string, RequestListener, string, string]>([
  ['active', says200({ ended: false }), 'accepted', 'accepted'],
  ['ended', says200({ ended: true }), 'access_token_revoked', 'access_token_revoked'],
  ['nothing of use', says200({}), 'service_unavailable', 'accepted'],
  [
    '404, as an older version does',
    (_request, response) => response.writeHead(404).end(),
    'service_unavailable',
    'accepted',
  ],
  [
    'with a redirect',
    (_request, response) => response.writeHead(307, { location: '/x' }).end(),
    'service_unavailable',
    'accepted',
  ],
  ['nothing at all', () => {}, 'service_unavailable', 'accepted'],
])(
  'while the feed lacks sessions, the service is asked about each, with its token; it says: %s',
  async (_what, about, whenRefusing, whenAccepting) => {
    await using issuer = await startIssuer()
    let seen: { url?: string | undefined; authorization?: string | undefined } = {}
    await using instead = await startInstead(
      incompleteFeed((request, response) => {
        seen = { url: request.url, authorization: request.headers.authorization }
        about(request, response)
      }),
    )
    const token = await issuer.mint()
    for (const whenBehind of ['refuse', 'accept'] as const) {
      const revocations = { token: feedToken, url: instead.url, whenBehind }
      const verifier = createVerifier({ ...issuer, revocations })
      const expected = whenBehind === 'refuse' ? whenRefusing : whenAccepting
      expect(await outcomeOf(verifier.verify(token))).toBe(expected)
      verifier.close()
    }
    const { sid } = JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString())
    expect(seen).toEqual({ url: `/revocations/${sid}`, authorization: `Bearer ${feedToken}` })
  },
)

test('a verifier asks about a hundred sessions at a time, and answers 503 beyond', async () => {
  await using issuer = await startIssuer()
  const open: ServerResponse[] = []
  await using instead = await startInstead(
    incompleteFeed((_request, response) => void open.push(response)),
  )
  const revocations = { token: feedToken, url: instead.url }
  const verifier = createVerifier({ ...issuer, revocations })
  const tokens = await Promise.all(Array.from({ length: 120 }, () => issuer.mint()))
  const answers = tokens.map((token) => outcomeOf(verifier.verify(token)))
  await expect.poll(() => open.length).toBe(100)
  for (const response of open) response.end('{"ended":false}')
  const counts = { accepted: 0, service_unavailable: 0 }
  for (const answer of await Promise.all(answers)) counts[answer as keyof typeof counts] += 1
  expect(counts).toEqual({ accepted: 100, service_unavailable: 20 })
  verifier.close()
})

test.each<[string, RequestListener]>([
  ['refuses', (_request, response) => response.writeHead(401).end()],
  ['is not an event stream', (_request, response) => response.end('<html>')],
  ['ends at once', (_request, response) => response.end()],
  ['breaks off', (request) => request.socket.destroy()],
  ['says no JSON', (_request, response) => response.write(`event: ended\ndata: {\n\n${checked}`)],
  [
    'names no session',
    (_request, response) => response.write(`event: ended\ndata: {}\n\n${checked}`),
  ],
  [
    'names no lag',
    (_request, response) => response.write('event: checked\ndata: {"lagMs":-1}\n\n'),
  ],
  ['never ends a message', (_request, response) => response.write('data: '.padEnd(100_000, 'x'))],
  ['is late', (_request, response) => response.write('event: checked\ndata: {"lagMs":6000}\n\n')],
  ['says nothing', (_request, response) => response.flushHeaders()],
  [
    'sends elsewhere',
    (_request, response) => response.writeHead(307, { location: '/elsewhere' }).end(),
  ],
])(
  'a feed that %s is not trusted: the token is answered 503, and the verifier connects again',
  async (_what, answer) => {
    await using instead = await startInstead(answer)
    const timing = { silenceMs: 500, firstReportMs: 500 }
    const follower = followRevocations(new URL(instead.url), { token: feedToken }, timing)
    expect(await outcomeOf(follower.check(randomUUID()))).toBe('service_unavailable')
    await expect.poll(() => instead.seen.length).toBeGreaterThan(1)
    expect(new Set(instead.seen)).toEqual(new Set(['/revocations']))
    follower.close()
  },
)

test('a token is answered 503 while the feed is unavailable, and a bad one is refused as usual', async () => {
  await using issuer = await startIssuer()
  await using instead = await startInstead((_request, response) => response.end())
  const revocations = { token: feedToken, url: instead.url }
  const verifier = createVerifier({ ...issuer, revocations })
  expect(await outcomeOf(verifier.verify('nonsense'))).toBe('access_token_invalid')
  expect(await outcomeOf(verifier.verifyAuthorization(null))).toBe('access_token_missing')
  const old = await issuer.mint({ claims: { iat: 1, exp: 901 } })
  expect(await outcomeOf(verifier.verify(old))).toBe('access_token_expired')
  const good = await issuer.mint()
  expect(await outcomeOf(verifier.verify(good))).toBe('service_unavailable')
  verifier.close()
})

test('a verifier without the token of the feed is not created', () => {
  const options = { issuer: 'https://auth.example.com', audience: 'a', revocations: { token: '' } }
  expect(() => createVerifier(options)).toThrow(TypeError)
})
