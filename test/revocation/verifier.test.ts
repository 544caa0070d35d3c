import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { createVerifier, type RevocationsOptions } from '../../server/verifier.ts'
import { beginSessions } from '../support/begun-sessions.ts'
import { freshDatabase } from '../support/database.ts'
import { feedToken } from '../support/feed.ts'
import { auth } from '../support/http.ts'
import { startServer } from '../support/server.ts'
import { signIn } from '../support/sessions.ts'
import { makeUser } from '../support/users.ts'
import { startProxy } from '../support/wire.ts'
import { adapters, startServices } from '../verifier/services-process.ts'

// Real processes take a while to start, and the bound is five seconds.
const timeout = 120_000
const env = {
  PUBLIC_URL: 'http://auth.test',
  ACCESS_TOKEN_AUDIENCE: 'both',
  REVOCATIONS_TOKEN: feedToken,
}

/** A service behind a wire that can be cut, and verifiers that follow it through that wire. */
async function startFollowed() {
  const owner = await freshDatabase()
  const server = await startServer(owner.url, env)
  const port = Number(new URL(server.url).port)
  const wire = await startProxy({ host: '127.0.0.1', port })
  const verifiers: { close(): void }[] = []
  return {
    owner,
    server,
    wire,
    begin: () => signIn({ url: server.url, owner }),
    end: (refreshToken: string) => auth(server.url, 'logout', { refreshToken }),
    /** What a verifier of its own says of a token: `accepted`, or the reason. */
    follow(options: Partial<RevocationsOptions> = {}) {
      const url = `http://127.0.0.1:${wire.port}/revocations`
      const verifier = verifierOf(server.url, { token: feedToken, url, ...options })
      verifiers.push(verifier)
      return (token: string) => outcomeOf(verifier.verify(token))
    },
    async [Symbol.asyncDispose]() {
      for (const verifier of verifiers) verifier.close()
      await wire[Symbol.asyncDispose]()
      await server.kill('SIGTERM')
      await owner[Symbol.asyncDispose]()
    },
  }
}

/** Its keys come straight from the service: what is tested is the feed. */
function verifierOf(url: string, revocations?: RevocationsOptions) {
  const jwksUrl = `${url}/.well-known/jwks.json`
  return createVerifier({ issuer: env.PUBLIC_URL, audience: 'both', jwksUrl, revocations })
}

function outcomeOf(checked: Promise<unknown>): Promise<string> {
  return checked.then(
    () => 'accepted',
    (error: { reason?: string }) => error.reason ?? String(error),
  )
}

const revoked = 'access_token_revoked'
const unavailable = 'service_unavailable'

test.each(adapters)(
  'a service that follows the feed refuses what was ended before it started and since: %s (RFC 6750 §3.1)',
  { timeout },
  async (adapter) => {
    await using owner = await freshDatabase()
    await using server = await startServer(owner.url, { REVOCATIONS_TOKEN: feedToken })
    const begin = () => signIn({ url: server.url, owner })
    const [before, since, stays] = [await begin(), await begin(), await begin()]
    await auth(server.url, 'logout', { refreshToken: before.refreshToken })
    const revocations = { token: feedToken }
    const source = { issuer: server.url, audience: server.url, revocations }
    await using services = await startServices(source)
    const me = ({ accessToken }: typeof stays) => services.me(adapter, `Bearer ${accessToken}`)
    await expect.poll(async () => (await me(before)).reason).toBe(revoked)
    expect(await me(since)).toMatchObject({ status: 200 })
    await auth(server.url, 'logout', { refreshToken: since.refreshToken })
    await expect.poll(async () => (await me(since)).status).toBe(401)
    const refused = await me(since)
    expect(refused.reason).toBe(revoked)
    expect(refused.headers.get('www-authenticate')).toContain('error="invalid_token"')
    expect(await me(stays)).toMatchObject({ status: 200 })
  },
)

test('the first call already knows what was ended before', { timeout }, async () => {
  await using followed = await startFollowed()
  const { accessToken, refreshToken } = await followed.begin()
  await followed.end(refreshToken)
  // Until the service itself has heard of it, the feed cannot tell.
  await expect.poll(() => followed.follow()(accessToken)).toBe(revoked)
  for (let i = 0; i < 10; i++) expect(await followed.follow()(accessToken)).toBe(revoked)
})

test('a verifier that follows nothing believes a token until it expires', { timeout }, async () => {
  await using followed = await startFollowed()
  const [following, { accessToken, refreshToken }] = [followed.follow(), await followed.begin()]
  await followed.end(refreshToken)
  await expect.poll(() => following(accessToken)).toBe(revoked)
  const verifier = verifierOf(followed.server.url)
  expect(await outcomeOf(verifier.verify(accessToken))).toBe('accepted')
})

test(
  'without the feed good tokens are good for five seconds, then unknown or accepted as was chosen; then it catches up',
  { timeout },
  async () => {
    await using followed = await startFollowed()
    const { wire } = followed
    const problems: unknown[] = []
    const refusing = followed.follow({ onProblem: (error) => problems.push(error) })
    const accepting = followed.follow({ whenBehind: 'accept' })
    const [stays, known, meanwhile] = [
      await followed.begin(),
      await followed.begin(),
      await followed.begin(),
    ]
    await followed.end(known.refreshToken)
    for (const check of [refusing, accepting]) {
      await expect.poll(() => check(known.accessToken)).toBe(revoked)
      expect(await check(stays.accessToken)).toBe('accepted')
    }
    wire.cut()
    expect(await refusing(stays.accessToken)).toBe('accepted')
    await followed.end(meanwhile.refreshToken)
    await expect.poll(() => refusing(stays.accessToken)).toBe(unavailable)
    expect(await refusing(meanwhile.accessToken)).toBe(unavailable)
    expect(await refusing(known.accessToken)).toBe(revoked)
    expect(await accepting(stays.accessToken)).toBe('accepted')
    expect(await accepting(meanwhile.accessToken)).toBe('accepted')
    expect(await accepting(known.accessToken)).toBe(revoked)
    wire.mend()
    const after: string[] = []
    await expect
      .poll(async () => {
        after.push(await refusing(meanwhile.accessToken))
        return after.at(-1)
      })
      .toBe(revoked)
    // Not current again before it has caught up.
    expect(after).not.toContain('accepted')
    await expect.poll(() => accepting(meanwhile.accessToken)).toBe(revoked)
    await expect.poll(() => refusing(stays.accessToken)).toBe('accepted')
    // Once an outage, however often it tried.
    expect(problems).toHaveLength(1)
  },
)

test(
  'a feed that falls silent without hanging up is not believed any more',
  { timeout },
  async () => {
    await using followed = await startFollowed()
    const check = followed.follow()
    const { accessToken } = await followed.begin()
    expect(await check(accessToken)).toBe('accepted')
    followed.wire.lose('both')
    await expect.poll(() => check(accessToken)).toBe(unavailable)
    followed.wire.mend()
    await expect.poll(() => check(accessToken), { timeout: 30_000 }).toBe('accepted')
  },
)

test(
  'a follower passed on from one process of the service to another misses nothing',
  { timeout },
  async () => {
    await using owner = await freshDatabase()
    await using a = await startServer(owner.url, env)
    await using b = await startServer(owner.url, env)
    const portOf = ({ url }: { url: string }) => Number(new URL(url).port)
    // What a load balancer is to the follower: now one process, now the other.
    const target = { host: '127.0.0.1', port: portOf(a) }
    await using wire = await startProxy(target)
    const url = `http://127.0.0.1:${wire.port}/revocations`
    const verifier = verifierOf(a.url, { token: feedToken, url })
    try {
      const stays = await signIn({ url: a.url, owner })
      expect(await outcomeOf(verifier.verify(stays.accessToken))).toBe('accepted')
      for (const next of [b, a, b, a]) {
        const ended = await signIn({ url: a.url, owner })
        target.port = portOf(next)
        wire.snap()
        await auth(a.url, 'logout', { refreshToken: ended.refreshToken })
        await expect.poll(() => outcomeOf(verifier.verify(ended.accessToken))).toBe(revoked)
        expect(await outcomeOf(verifier.verify(stays.accessToken))).toBe('accepted')
      }
    } finally {
      verifier.close()
    }
  },
)

test('many ends at once reach a follower, all of them', { timeout }, async () => {
  await using followed = await startFollowed()
  const { owner, server } = followed
  const user = await makeUser(owner.url)
  const { refreshToken } = await signIn({ url: server.url, owner }, user.email)
  // More than one page of the feed.
  const sessions = await beginSessions(owner.url, user, 1_200)
  const accessTokens: string[] = []
  for (const session of [sessions[0]!, sessions[600]!, sessions[1_199]!]) {
    const { data } = await auth(server.url, 'refresh', { refreshToken: session.refreshToken })
    accessTokens.push(data.accessToken)
  }
  const check = followed.follow()
  for (const token of accessTokens) expect(await check(token)).toBe('accepted')
  await auth(server.url, 'logout', { refreshToken, everywhere: true })
  for (const token of accessTokens) await expect.poll(() => check(token)).toBe(revoked)
})

test('with a wrong token nothing is believed, and the problem says why', { timeout }, async () => {
  await using followed = await startFollowed()
  const { accessToken } = await followed.begin()
  const problems: Error[] = []
  const wrong = 'not-the-token-of-this-service'
  const onProblem = (error: unknown) => problems.push(error as Error)
  const check = followed.follow({ token: wrong, onProblem })
  expect(await check(accessToken)).toBe(unavailable)
  expect(problems.map(({ message }) => message)).toEqual(['the feed answered 401'])
  expect(() => followed.follow({ token: '' })).toThrow(TypeError)
})

test('the token is brought to nobody whom the feed redirects to', { timeout }, async () => {
  await using followed = await startFollowed()
  const { accessToken } = await followed.begin()
  let visits = 0
  await using elsewhere = await listen((_request, response) => {
    visits += 1
    response.end()
  })
  await using redirecting = await listen((_request, response) => {
    response.writeHead(307, { location: elsewhere.url }).end()
  })
  expect(await followed.follow({ url: redirecting.url })(accessToken)).toBe(unavailable)
  expect(visits).toBe(0)
})

test('a feed that says nonsense makes no token good', { timeout }, async () => {
  await using followed = await startFollowed()
  const { accessToken } = await followed.begin()
  const outcomes = Object.entries({
    'no JSON': 'event: checked\ndata: nonsense\n\n',
    'no lag': 'event: checked\ndata: {}\n\n',
    'a look of the future': 'event: checked\ndata: {"lagMs":-1000}\n\n',
    'a look too long ago': 'event: checked\ndata: {"lagMs":60000}\n\n',
    'no session': 'event: ended\ndata: {}\n\nevent: checked\ndata: {"lagMs":0}\n\n',
    'a message without end': `data: ${'x'.repeat(100_000)}`,
    'comments alone': ': behind\n\n',
    'what is right': 'event: checked\ndata: {"lagMs":0}\n\n',
  }).map(async ([what, said]) => {
    await using feed = await listen((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write(said)
    })
    return [what, await followed.follow({ url: feed.url })(accessToken)]
  })
  expect(Object.fromEntries(await Promise.all(outcomes))).toEqual({
    'no JSON': unavailable,
    'no lag': unavailable,
    'a look of the future': unavailable,
    'a look too long ago': unavailable,
    'no session': unavailable,
    'a message without end': unavailable,
    'comments alone': unavailable,
    'what is right': 'accepted',
  })
})

test('a verifier that was closed keeps no process alive', { timeout }, async () => {
  await using owner = await freshDatabase()
  await using server = await startServer(owner.url, { REVOCATIONS_TOKEN: feedToken })
  const program = `
    import { createVerifier } from './server/verifier.ts'
    const issuer = ${JSON.stringify(server.url)}
    const revocations = { token: ${JSON.stringify(feedToken)} }
    const verifier = createVerifier({ issuer, audience: issuer, revocations })
    setTimeout(() => verifier.close(), 1_500)`
  const child = spawn(
    process.execPath,
    ['--import', 'tsx', '--input-type=module', '--eval', program],
    { stdio: 'inherit' },
  )
  const [code] = await Promise.race([
    once(child, 'exit'),
    sleep(30_000, ['still there'], { ref: false }),
  ])
  child.kill('SIGKILL')
  expect(code).toBe(0)
})

async function listen(answer: RequestListener): Promise<AsyncDisposable & { url: string }> {
  const server = createServer(answer).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}/revocations`,
    async [Symbol.asyncDispose]() {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}
