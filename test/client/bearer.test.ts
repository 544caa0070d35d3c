import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createTRPCClient } from '@trpc/client'
import { expect, test } from 'vitest'
import { createAuthClient } from '../../client/index.ts'
import { authLink, type AppRouter } from '../../client/trpc.ts'
import { startApp, type TestApp } from '../support/app.ts'
import { noFault, startBehindProxy } from '../support/proxy.ts'
import { makeUser, testPassword } from '../support/users.ts'

test('CL-05 (ASVS 15.3.2): the client sends the bearer token to configured origins alone, also on a redirect', async () => {
  await using app = await startApp()
  const seen: (string | undefined)[] = []
  await using other = await listen((request, response) => {
    seen.push(request.headers.authorization)
    response.end('{}')
  })
  await using api = await listen((request, response) => {
    seen.push(request.headers.authorization)
    response.writeHead(302, { location: other.url }).end()
  })
  const auth = await signedIn(app, { origins: [api.url] })
  const token = await auth.getAccessToken()
  await expect(auth.fetch(other.url)).rejects.toMatchObject({ reason: 'origin_not_configured' })
  expect(() => authLink(auth, { url: `${other.url}/trpc` })).toThrow('origins')
  expect(seen).toEqual([])
  expect((await auth.fetch(api.url)).status).toBe(200)
  expect(seen).toEqual([`Bearer ${token}`, undefined])
  expect((await auth.fetch('/trpc/me')).status).toBe(200)
  auth.dispose()
})

test('CL-03, CL-09: after a refused access token the client refreshes once and repeats the call once, query or mutation', async () => {
  await using behind = await startBehindProxy()
  const { app, proxy } = behind
  const auth = await signedIn(app, {}, proxy.url)
  const trpc = createTRPCClient<AppRouter>({ links: [authLink(auth)] })
  let refusals = 1
  proxy.chooseFault = (path) => (path.startsWith('/trpc') && refusals-- > 0 ? expired : noFault)
  expect((await trpc.me.query()).user.role).toBe('user')
  expect(callsOf(proxy.seen)).toEqual(['/trpc/me', '/auth/refresh', '/trpc/me'])

  refusals = 1
  proxy.seen.length = 0
  await trpc.sessions.revokeOthers.mutate()
  expect(callsOf(proxy.seen)).toEqual([
    '/trpc/sessions.revokeOthers',
    '/auth/refresh',
    '/trpc/sessions.revokeOthers',
  ])

  refusals = 1
  proxy.seen.length = 0
  expect((await auth.fetch(`${proxy.url}/trpc/me`)).status).toBe(200)
  expect(callsOf(proxy.seen)).toEqual(['/trpc/me', '/auth/refresh', '/trpc/me'])

  // A token that is refused for ever is not renewed for ever.
  refusals = Infinity
  proxy.seen.length = 0
  await expect(trpc.me.query()).rejects.toMatchObject({ data: { reason: 'access_token_expired' } })
  expect(callsOf(proxy.seen)).toEqual(['/trpc/me', '/auth/refresh', '/trpc/me'])
  expect(auth.session.status).toBe('signed-in')
  auth.dispose()
})

test('twenty calls that are refused at once share one refresh', async () => {
  await using behind = await startBehindProxy()
  const { app, proxy } = behind
  const auth = await signedIn(app, {}, proxy.url)
  const old = await auth.getAccessToken()
  let isRefusing = true
  proxy.chooseFault = (path) => {
    if (path === '/auth/refresh') isRefusing = false
    return path.startsWith('/trpc') && isRefusing ? expired : noFault
  }
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => auth.fetch(`${proxy.url}/trpc/me`)),
  )
  expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 20 }, () => 200))
  expect(proxy.seen.filter((path) => path === '/auth/refresh')).toHaveLength(1)
  expect(await auth.getAccessToken()).not.toBe(old)
  auth.dispose()
})

test('CL-06: a mutation whose answer is lost is not repeated', async () => {
  await using behind = await startBehindProxy()
  const { app, proxy } = behind
  const auth = await signedIn(app, {}, proxy.url)
  const trpc = createTRPCClient<AppRouter>({ links: [authLink(auth)] })
  proxy.chooseFault = () => ({ kind: 'drop-answer' })
  await expect(trpc.sessions.revokeOthers.mutate()).rejects.toThrow('fetch failed')
  expect(callsOf(proxy.seen)).toEqual(['/trpc/sessions.revokeOthers'])
  auth.dispose()
})

test('until Retry-After has passed, calls that need a token fail at once without a request', async () => {
  await using behind = await startBehindProxy()
  const { app, proxy } = behind
  const auth = await signedIn(app, {}, proxy.url)
  const body = JSON.stringify({
    error: {
      message: 'Later.',
      data: { httpStatus: 429, reason: 'too_many_attempts', retryAfterSeconds: 60 },
    },
  })
  proxy.chooseFault = () => ({ kind: 'answer', status: 429, body })
  const rejected = await auth.getAccessToken()
  for (let times = 0; times < 20; times += 1)
    await expect(auth.getAccessToken({ rejected: rejected! })).rejects.toMatchObject({
      reason: 'too_many_attempts',
      retryAfterSeconds: 60,
    })
  expect(proxy.seen.filter((path) => path === '/auth/refresh')).toHaveLength(1)
  expect(auth.session).toMatchObject({ status: 'signed-in', problem: 'too_many_attempts' })
  auth.dispose()
})

const expired = {
  kind: 'answer',
  status: 401,
  headers: {
    'content-type': 'application/json',
    'www-authenticate': 'Bearer realm="token-ledger", error="invalid_token"',
  },
  body: JSON.stringify([
    {
      error: {
        message: 'Expired.',
        code: -32001,
        data: { code: 'UNAUTHORIZED', httpStatus: 401, reason: 'access_token_expired' },
      },
    },
  ]),
} as const

async function signedIn(app: TestApp, options: { origins?: string[] } = {}, baseUrl = app.url) {
  const { email } = await makeUser(app.owner.url)
  const auth = createAuthClient({ baseUrl, transport: 'body', ...options })
  await auth.login({ email, password: testPassword })
  return auth
}

function callsOf(seen: readonly string[]): string[] {
  return seen.map((path) => path.replace(/\?.*$/, '')).filter((path) => path !== '/auth/login')
}

async function listen(react: RequestListener): Promise<AsyncDisposable & { url: string }> {
  const server = createServer(react).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
    },
  }
}
