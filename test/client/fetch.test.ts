import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { create as createAxios } from 'axios'
import ky from 'ky'
import createOpenApiClient from 'openapi-fetch'
import { afterAll, beforeAll, beforeEach, expect, expectTypeOf, test } from 'vitest'
import { createAuthClient, type AuthClient } from '../../client/index.ts'
import { startApp, type TestApp } from '../support/app.ts'
import { makeUser, testPassword } from '../support/users.ts'

type Seen = {
  method: string
  path: string
  token: string | undefined
  contentType: string | undefined
  body: string
}

/** An API that refuses the first `refusals` requests for their token, and echoes the others. */
type Api = { url: string; seen: Seen[]; refusals: number; close(): void }

/** What openapi-typescript makes of the API's description. */
type Paths = {
  '/orders': {
    post: {
      requestBody: { content: { 'application/json': { sku: string } } }
      responses: { 200: { content: { 'application/json': Seen } } }
    }
  }
}

let app: TestApp
let api: Api
let elsewhere: Api
let auth: AuthClient

beforeAll(async () => {
  app = await startApp()
  ;[api, elsewhere] = await Promise.all([startApi(), startApi()])
  const { email } = await makeUser(app.owner.url)
  auth = createAuthClient({ baseUrl: app.url, transport: 'body', origins: [api.url] })
  await auth.login({ email, password: testPassword })
})
beforeEach(() => {
  for (const one of [api, elsewhere]) Object.assign(one, { seen: [], refusals: 0 })
})
afterAll(async () => {
  auth.dispose()
  api.close()
  elsewhere.close()
  await app[Symbol.asyncDispose]()
})

test('auth.fetch is a fetch by its type, and takes a string, a URL and a Request', async () => {
  expectTypeOf(auth.fetch).toEqualTypeOf<typeof globalThis.fetch>()
  const url = `${api.url}/orders`
  for (const input of [url, new URL(url), new Request(url)])
    expect((await auth.fetch(input)).status).toBe(200)
  const token = await auth.getAccessToken()
  expect(api.seen.map((one) => one.token)).toEqual(Array.from({ length: 3 }, () => token))
})

test.each<[string, () => Promise<Seen | undefined>]>([
  ['a Request', async () => echoOf(await auth.fetch(new Request(`${api.url}/orders`, post)))],
  [
    'a Request and init',
    async () => echoOf(await auth.fetch(new Request(`${api.url}/orders`), post)),
  ],
  [
    'openapi-fetch',
    async () => {
      const client = createOpenApiClient<Paths>({ baseUrl: api.url, fetch: auth.fetch })
      return (await client.POST('/orders', { body: { sku: 'a' } })).data
    },
  ],
  [
    'ky',
    () =>
      ky
        .create({ fetch: auth.fetch })
        .post(`${api.url}/orders`, { json: { sku: 'a' } })
        .json(),
  ],
  [
    "axios' fetch adapter",
    async () => {
      const client = createAxios({ adapter: 'fetch', env: { fetch: auth.fetch } })
      return (await client.post<Seen>(`${api.url}/orders`, { sku: 'a' })).data
    },
  ],
])(
  'a POST by %s that is refused for its token is sent again with its headers, its body and a new token',
  async (_how, send) => {
    api.refusals = 1
    const echo = await send()
    const [first, second] = api.seen as [Seen, Seen]
    expect(api.seen).toHaveLength(2)
    expect(second).toEqual(echo)
    expect(second).toMatchObject({ method: 'POST', path: '/orders', body: '{"sku":"a"}' })
    expect(second.contentType).toMatch(/^application\/json/)
    expect(first).toEqual({ ...second, token: first.token })
    expect(first.token).not.toBe(second.token)
  },
)

test('redirects are those of the platform, and another origin gets no token', async () => {
  expect(await echoOf(await auth.fetch(`${api.url}/orders/`))).toMatchObject({ path: '/orders' })
  expect(api.seen.map(({ token }) => token)).toEqual([expect.any(String), expect.any(String)])
  await auth.fetch(`${api.url}/away`)
  expect(elsewhere.seen).toMatchObject([{ path: '/orders', token: undefined }])
  const manual = await auth.fetch(`${api.url}/orders/`, { redirect: 'manual' })
  expect(manual.status).toBe(307)
  await expect(auth.fetch(`${api.url}/orders/`, { redirect: 'error' })).rejects.toThrow(TypeError)
})

test('a request that was redirected is not sent again', async () => {
  elsewhere.refusals = 1
  expect((await auth.fetch(`${api.url}/away`, post)).status).toBe(401)
  expect(api.seen).toHaveLength(1)
})

test('it fails as fetch does, except for its token and its origins', async () => {
  const locked = { load: () => Promise.reject(new Error('locked')), swap: async () => true }
  const other = createAuthClient({ baseUrl: app.url, storage: locked, origins: [api.url] })
  await expect(other.fetch(api.url)).rejects.toMatchObject({ reason: 'storage_failed' })
  other.dispose()
  await expect(auth.fetch(elsewhere.url)).rejects.toMatchObject({ reason: 'origin_not_configured' })
  await expect(auth.fetch(new Request(elsewhere.url))).rejects.toMatchObject({
    reason: 'origin_not_configured',
  })
  await expect(auth.fetch(`${api.url}/gone`)).rejects.toThrow(TypeError)
  const reason = new Error('the page was left')
  await expect(auth.fetch(api.url, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
})

test('a caller that gives up does not wait for the token', async () => {
  const waiting = createAuthClient({
    baseUrl: app.url,
    transport: 'body',
    storage: { load: () => new Promise(() => {}), swap: async () => true },
  })
  const leave = new AbortController()
  const answer = waiting.fetch(new Request(`${app.url}/trpc/me`, { signal: leave.signal }))
  leave.abort()
  await expect(answer).rejects.toMatchObject({ name: 'AbortError' })
  waiting.dispose()
})

const post = {
  method: 'POST',
  body: '{"sku":"a"}',
  headers: { 'content-type': 'application/json' },
}

async function echoOf(response: Response): Promise<Seen> {
  return (await response.json()) as Seen
}

async function startApi(): Promise<Api> {
  const server = createServer((request, response) => void react(request, response))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const self: Api = {
    url: `http://127.0.0.1:${port}`,
    seen: [],
    refusals: 0,
    close() {
      server.close()
      server.closeAllConnections()
    },
  }
  async function react(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = Buffer.concat(await request.toArray()).toString()
    const { method = '', url: path = '' } = request
    const token = request.headers.authorization?.replace('Bearer ', '')
    const contentType = request.headers['content-type']
    const seen = { method, path, token, contentType, body }
    self.seen.push(seen)
    if (path === '/gone') return void request.socket.destroy()
    if (path === '/orders/') return void response.writeHead(307, { location: '/orders' }).end()
    if (path === '/away')
      return void response.writeHead(303, { location: `${elsewhere.url}/orders` }).end()
    const isRefused = self.refusals > 0
    if (isRefused) self.refusals -= 1
    response.writeHead(isRefused ? 401 : 200, {
      'content-type': 'application/json',
      ...(isRefused && { 'www-authenticate': 'Bearer error="invalid_token"' }),
    })
    response.end(JSON.stringify(seen))
  }
  return self
}
