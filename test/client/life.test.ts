import { createServer } from 'node:net'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test, vi } from 'vitest'
import { createAuthClient, type AuthClientOptions } from '../../client/index.ts'
import { grantingFetch } from '../support/granting-fetch.ts'

const form = { email: 'ann@example.com', password: 'correct horse battery' }
const ann = { id: '1', email: 'ann@example.com', role: 'user' }
const baseUrl = 'https://auth.example.com'

afterEach(() => {
  vi.unstubAllGlobals()
})

test('a silent server: restore({ timeoutMs: 3000 }) keeps to it, and goes on afterwards', async () => {
  const server = createServer(() => {}).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const auth = createAuthClient({ baseUrl: `http://127.0.0.1:${port}`, transport: 'cookie' })
  const begun = performance.now()
  expect(await auth.restore({ timeoutMs: 3_000 })).toEqual({
    status: 'unknown',
    problem: 'timeout',
  })
  const tookMs = performance.now() - begun
  expect(tookMs).toBeGreaterThan(2_900)
  expect(tookMs).toBeLessThan(4_000)
  auth.dispose()
  server.close()
})

test('a restore that has its answer in time does not wait for the timeout', async () => {
  const { fetch } = grantingFetch(() => ann)
  const auth = createAuthClient({ baseUrl, transport: 'cookie', fetch })
  expect(await auth.restore({ timeoutMs: 60_000 })).toMatchObject({ status: 'signed-in' })
  auth.dispose()
})

test('a disposed client says so in every call', async () => {
  const { fetch, seen } = grantingFetch(() => ann)
  const auth = createAuthClient({ baseUrl, transport: 'cookie', fetch })
  const restoring = auth.restore()
  auth.dispose()
  expect(await restoring).toEqual({ status: 'unknown', problem: 'disposed' })
  expect(await auth.restore()).toEqual({ status: 'unknown', problem: 'disposed' })
  const calls = [
    auth.login(form),
    auth.register(form),
    auth.logout(),
    auth.refresh(),
    auth.getAccessToken(),
    auth.fetch(`${baseUrl}/trpc/me`),
  ]
  for (const call of calls) await expect(call).rejects.toMatchObject({ reason: 'disposed' })
  await expect(auth.login(form)).rejects.toThrow('make a new one')
  expect(seen).toEqual([])
})

test('a client that was made and not used leaves nothing behind: StrictMode makes two and keeps one', async () => {
  const opened = vi.fn<(name: string) => void>()
  vi.stubGlobal(
    'BroadcastChannel',
    class extends EventTarget {
      constructor(name: string) {
        super()
        opened(name)
      }
      postMessage() {}
      close() {
        opened('closed')
      }
    },
  )
  const listeners: string[] = []
  const target = {
    addEventListener: (type: string, _react: unknown, { signal }: { signal: AbortSignal }) => {
      listeners.push(type)
      signal.addEventListener('abort', () => listeners.splice(listeners.indexOf(type), 1))
    },
  }
  vi.stubGlobal('document', target)
  vi.stubGlobal('window', target)
  const { fetch } = grantingFetch(() => ann)
  const make = () => createAuthClient({ baseUrl, transport: 'cookie', fetch })
  const [, kept] = [make(), make()]
  kept.subscribe(() => {})()
  expect(opened).not.toHaveBeenCalled()
  expect(listeners).toEqual([])
  await kept.restore()
  expect(opened).toHaveBeenCalledTimes(1)
  expect(listeners.length).toBeGreaterThan(0)
  kept.dispose()
  expect(opened).toHaveBeenLastCalledWith('closed')
  expect(listeners).toEqual([])
})

test('a prerendered page sends no request until it is shown', async () => {
  const page = Object.assign(new EventTarget(), { prerendering: true })
  vi.stubGlobal('document', page)
  const { fetch, seen } = grantingFetch(() => ann)
  const auth = createAuthClient({ baseUrl, transport: 'cookie', fetch })
  const restoring = auth.restore()
  expect(await auth.restore({ timeoutMs: 100 })).toMatchObject({ status: 'unknown' })
  expect(seen).toEqual([])
  page.prerendering = false
  page.dispatchEvent(new Event('prerenderingchange'))
  expect(await restoring).toMatchObject({ status: 'signed-in' })
  expect(seen).toEqual(['/auth/refresh'])
  auth.dispose()
})

test.each<[string, AuthClientOptions, string]>([
  ['no baseUrl on a server', {}, 'baseUrl is missing'],
  ['a baseUrl with a path', { baseUrl: `${baseUrl}/api` }, `"${baseUrl}/api" has to be one origin`],
  ['a baseUrl that is no URL', { baseUrl: 'auth.example.com' }, 'baseUrl: "auth.example.com"'],
  ['a wildcard', { baseUrl, origins: ['https://*.example.com'] }, 'without a path or a wildcard'],
  ['an origin that is no URL', { baseUrl, origins: ['api.example.com'] }, 'origins: "api'],
])('bad use is refused in one sentence that says what to do: %s', (_what, options, message) => {
  expect(() => createAuthClient(options)).toThrow(TypeError)
  expect(() => createAuthClient(options)).toThrow(message)
})

test('a page of an opaque origin, where channels and storage throw, gets a client all the same', async () => {
  const forbidden = () => {
    throw new DOMException('The operation is insecure.', 'SecurityError')
  }
  vi.stubGlobal('location', { origin: 'null' })
  vi.stubGlobal('BroadcastChannel', forbidden)
  Object.defineProperty(globalThis, 'localStorage', { configurable: true, get: forbidden })
  const { fetch } = grantingFetch(() => ann)
  const auth = createAuthClient({ baseUrl, transport: 'cookie', fetch })
  expect(await auth.login(form)).toMatchObject({ user: ann })
  expect(await auth.logout()).toMatchObject({ isConfirmed: true })
  auth.dispose()
  Reflect.deleteProperty(globalThis, 'localStorage')
})

test('an edge worker, whose fetch refuses some options and whose timers have no unref, runs the client', async () => {
  const { fetch, seen } = grantingFetch(() => ann)
  const plain = setTimeout
  vi.stubGlobal('setTimeout', (run: () => void, ms: number) => Number(plain(run, ms)))
  const auth = createAuthClient({
    baseUrl,
    fetch: async (url, init) => {
      if (init?.redirect === 'error' || init?.cache !== undefined)
        throw new TypeError("The 'cache' field on 'RequestInitializerDict' is not implemented.")
      return fetch(url, init)
    },
  })
  expect(await auth.login(form)).toMatchObject({ user: ann })
  await auth.refresh()
  expect((await auth.fetch(`${baseUrl}/trpc/me`)).status).toBe(200)
  expect(await auth.logout()).toMatchObject({ isConfirmed: true })
  expect(seen).toEqual(['/auth/login', '/auth/refresh', '/trpc/me', '/auth/logout'])
  auth.dispose()
})
