import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createTRPCClient } from '@trpc/client'
import { expect, test } from 'vitest'
import { createAuthClient, type AuthClientOptions } from '../../client/index.ts'
import { authLink, type AppRouter } from '../../client/trpc.ts'
import { createVerifier, failureOf } from '../../server/verifier/index.ts'
import { claimsOf } from '../support/forge.ts'
import { hold, noFault, startBehindProxy } from '../support/proxy.ts'
import { makeUser, testPassword } from '../support/users.ts'

test('AT-17: each origin gets tokens of its own audience, asked for once, and never the token of the service', async () => {
  await using world = await startWorld()
  const { auth, orders, stock } = world
  const own = await auth.getAccessToken()
  const answers = await Promise.all([
    ...Array.from({ length: 20 }, () => auth.fetch(`${orders.url}/mine`)),
    auth.fetch(`${stock.url}/mine`),
  ])
  for (const { status } of answers) expect(status).toBe(200)
  expect(await (await auth.fetch(`${orders.url}/again`)).text()).toBe(world.email)

  expect(world.exchanges()).toBe(2)
  expect(new Set(orders.seen).size).toBe(1)
  expect(orders.seen).toHaveLength(21)
  expect(orders.seen[0]).not.toBe(stock.seen[0])
  expect([...orders.seen, ...stock.seen]).not.toContain(own)
  expect(await auth.getAccessToken()).toBe(own)
})

test("the service itself and an origin without an audience get the client's own token", async () => {
  await using world = await startWorld()
  const { auth, proxy } = world
  expect((await auth.fetch(`${proxy.url}/trpc/me`)).status).toBe(200)
  const trpc = createTRPCClient<AppRouter>({ links: [authLink(auth)] })
  expect((await trpc.me.query()).user.email).toBe(world.email)
  await using plain = await startService(proxy.url, proxy.url)
  const other = createAuthClient({ ...world.options, origins: [plain.url] })
  await other.login({ email: world.email, password: testPassword })
  expect((await other.fetch(plain.url)).status).toBe(200)
  expect(plain.seen).toEqual([await other.getAccessToken()])
  expect(world.exchanges()).toBe(0)
  other.dispose()
})

test('the link of another tRPC endpoint sends a token of its audience', async () => {
  await using world = await startWorld()
  const { auth, orders } = world
  const trpc = createTRPCClient<AppRouter>({
    links: [authLink(auth, { url: `${orders.url}/trpc` })],
  })
  // It is no tRPC server, and its answer does not matter.
  await trpc.me.query().catch(() => {})
  expect(claimsOf(orders.seen[0]!).aud).toBe('orders')
})

test('a token that the other service refuses is replaced once, with one refresh for all callers', async () => {
  await using world = await startWorld()
  const { auth, orders, proxy } = world
  await auth.fetch(orders.url)
  const [old] = orders.seen
  orders.refuse(old!)
  proxy.seen.length = 0
  const answers = await Promise.all(Array.from({ length: 10 }, () => auth.fetch(orders.url)))
  for (const { status } of answers) expect(status).toBe(200)
  expect(orders.seen.at(-1)).not.toBe(old)
  expect(proxy.seen.filter((path) => path === '/auth/refresh')).toHaveLength(1)
  expect(world.exchanges()).toBe(1)
})

test('an exchange that is refused for the access token is tried again with a new one', async () => {
  await using world = await startWorld()
  const { auth, proxy } = world
  let refusals = 1
  proxy.chooseFault = (path) => (path.startsWith('/trpc') && refusals-- > 0 ? expired : noFault)
  expect(claimsOf((await auth.getAccessToken({ audience: 'orders' }))!).aud).toBe('orders')
  expect(proxy.seen.map(nameOf).slice(-3)).toEqual([
    'tokens.exchange',
    'refresh',
    'tokens.exchange',
  ])
})

test('a token is exchanged anew after each refresh, long before it expires', async () => {
  await using world = await startWorld()
  const { auth, orders } = world
  await auth.fetch(orders.url)
  await auth.refresh()
  await auth.fetch(orders.url)
  expect(new Set(orders.seen).size).toBe(2)
  expect(world.exchanges()).toBe(2)
})

test('AT-17: a sign-out and another user forget the tokens of other services', async () => {
  await using world = await startWorld()
  const { auth, orders, app } = world
  await auth.fetch(orders.url)
  await auth.logout()
  expect(await auth.getAccessToken({ audience: 'orders' })).toBeNull()
  expect(await (await auth.fetch(orders.url)).text()).toBe('access_token_missing')

  const { email } = await makeUser(app.owner.url)
  await auth.login({ email, password: testPassword })
  expect(await (await auth.fetch(orders.url)).text()).toBe(email)
})

test('AT-17: an exchange that a sign-out overtakes is not used', async () => {
  await using world = await startWorld()
  const { auth, proxy, orders } = world
  const held = hold()
  proxy.chooseFault = (path) => (nameOf(path) === 'tokens.exchange' ? held.fault : noFault)
  const asked = auth.getAccessToken({ audience: 'orders' })
  await expect.poll(() => world.exchanges()).toBe(1)
  await auth.logout()
  held.release()
  expect(await asked).toBeNull()
  expect(orders.seen).toEqual([])
})

test('an audience that the service does not list is an error of the call, and the session stays', async () => {
  await using world = await startWorld()
  const { auth } = world
  await expect(auth.getAccessToken({ audience: 'elsewhere' })).rejects.toMatchObject({
    reason: 'validation_failed',
  })
  expect(auth.session.status).toBe('signed-in')
  // A failure is not kept: the next call asks again.
  await expect(auth.getAccessToken({ audience: 'elsewhere' })).rejects.toThrow()
  expect(world.exchanges()).toBe(2)
})

test('an origin has one audience, and that of the service is its own', () => {
  const baseUrl = 'https://auth.example.com'
  const origin = 'https://orders.example.com'
  const make = (...origins: NonNullable<AuthClientOptions['origins']>) =>
    createAuthClient({ baseUrl, transport: 'body', origins })
  expect(() => make({ origin, audience: 'a' }, { origin, audience: 'b' })).toThrow(TypeError)
  expect(() => make({ origin, audience: 'a' }, origin)).toThrow(TypeError)
  expect(() => make({ origin: baseUrl, audience: 'a' })).toThrow(TypeError)
  make({ origin, audience: 'a' }, { origin: `${origin}/path`, audience: 'a' }, baseUrl).dispose()
})

/** A signed-in client of a service that lists two others, which both run. */
async function startWorld() {
  const behind = await startBehindProxy({}, { ACCESS_TOKEN_AUDIENCES: 'orders,stock' })
  const { app, proxy } = behind
  const orders = await startService(proxy.url, 'orders')
  const stock = await startService(proxy.url, 'stock')
  const { email } = await makeUser(app.owner.url)
  const options: AuthClientOptions = {
    baseUrl: proxy.url,
    transport: 'body',
    origins: [
      { origin: orders.url, audience: 'orders' },
      { origin: stock.url, audience: 'stock' },
    ],
  }
  const auth = createAuthClient(options)
  await auth.login({ email, password: testPassword })
  return {
    app,
    proxy,
    orders,
    stock,
    options,
    auth,
    email,
    exchanges: () => proxy.seen.filter((path) => nameOf(path) === 'tokens.exchange').length,
    async [Symbol.asyncDispose]() {
      auth.dispose()
      for (const part of [orders, stock, behind]) await part[Symbol.asyncDispose]()
    },
  }
}

/** Another service: it answers with the address in the token, or with the reason of its refusal. */
async function startService(issuer: string, audience: string) {
  const seen: string[] = []
  const refused = new Set<string>()
  const verifier = createVerifier({ issuer, audience })
  const server = createServer((request, response) => {
    const [, token] = (request.headers.authorization ?? '').split(' ')
    if (token !== undefined) seen.push(token)
    verifier.verifyAuthorization(request.headers.authorization).then(
      ({ email }) => {
        if (!refused.has(token!)) return response.end(email)
        return response.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' }).end()
      },
      (error: unknown) => {
        const failure = failureOf(error)!
        response.writeHead(failure.statusCode).end(failure.reason)
      },
    )
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    seen,
    refuse: (token: string) => void refused.add(token),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
    },
  }
}

/** `/trpc/tokens.exchange?input=…` is `tokens.exchange`. */
function nameOf(path: string): string {
  return path.replace(/^\/\w+\/|\?.*$/g, '')
}

const expired = {
  kind: 'answer',
  status: 401,
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({
    error: {
      message: 'Expired.',
      code: -32001,
      data: { code: 'UNAUTHORIZED', httpStatus: 401, reason: 'access_token_expired' },
    },
  }),
} as const
