import { createTRPCClient } from '@trpc/client'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createAuthClient, fromGetSet } from '../../client/index.ts'
import { authLink, type AppRouter } from '../../client/trpc.ts'
import { grantingFetch } from '../support/granting-fetch.ts'
import { PartialUrl } from '../support/partial-url.ts'

const baseUrl = 'https://auth.example.com'
const ann = { id: '1', email: 'ann@example.com', role: 'user' }

// The service would run with these globals as well, so it is not asked here.
const { ReadableStream } = globalThis

/** Node's `Response` cannot be made without `ReadableStream`, unlike React Native's. */
function nativeFetch(fetch: typeof globalThis.fetch): typeof globalThis.fetch {
  return async (input, init) => {
    vi.stubGlobal('ReadableStream', ReadableStream)
    try {
      return await fetch(input, init)
    } finally {
      vi.stubGlobal('ReadableStream', undefined)
    }
  }
}
beforeEach(() => {
  vi.stubGlobal('URL', PartialUrl)
  vi.stubGlobal('ReadableStream', undefined)
  vi.stubGlobal('BroadcastChannel', undefined)
  const { crypto } = globalThis
  vi.stubGlobal('crypto', {
    getRandomValues: (bytes: Uint8Array<ArrayBuffer>) => crypto.getRandomValues(bytes),
  })
  vi.stubGlobal('window', globalThis)
})
afterEach(() => vi.unstubAllGlobals())

test('the client runs with what React Native 0.79 has', async () => {
  let text: string | null = null
  const storage = fromGetSet({
    get: async () => text,
    set: async (next) => void (text = next),
    remove: async () => void (text = null),
  })
  const { fetch, seen } = grantingFetch(() => ann)
  const auth = createAuthClient({ baseUrl, storage, fetch: nativeFetch(fetch) })
  await auth.login({ email: ann.email, password: 'correct horse battery' })
  await auth.refresh()
  expect((await auth.fetch(`${baseUrl}/trpc/a`)).status).toBe(200)
  expect((await auth.fetch('/trpc/b')).status).toBe(200)
  const trpc = createTRPCClient<AppRouter>({ links: [authLink(auth)] })
  expect((await trpc.me.query()).user).toEqual(ann)
  await auth.logout()
  expect(seen).toEqual([
    '/auth/login',
    '/auth/refresh',
    '/trpc/a',
    '/trpc/b',
    '/trpc/me',
    '/auth/logout',
  ])
  auth.dispose()
})

test.each([
  'https://api.example.com@evil.example/',
  'https://api.example.com\\@evil.example/',
  'https://api.example.com:443@evil.example/',
  'https://evil.example/https://api.example.com',
  '//evil.example/orders',
  'https://API.example.com/',
])('with a partial URL no token is sent to %j', async (url) => {
  const seen: string[] = []
  const other = createAuthClient({
    baseUrl: 'https://api.example.com',
    transport: 'body',
    fetch: async (input) => {
      seen.push(input as string)
      return Response.json({})
    },
  })
  await other.fetch(url).catch(() => {})
  for (const sent of seen) expect(sent).toMatch(/^https:\/\/api\.example\.com\//)
  other.dispose()
})

test('a missing crypto.getRandomValues is named when the client is made', () => {
  vi.stubGlobal('crypto', undefined)
  expect(() => createAuthClient({ baseUrl, transport: 'body' })).toThrow(
    'crypto.getRandomValues is missing: in React Native, import "react-native-get-random-values"',
  )
})
