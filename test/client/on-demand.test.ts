import { afterEach, expect, test, vi } from 'vitest'
import { createAuthClient, memoryStorage } from '../../client/index.ts'
import { grantingFetch } from '../support/granting-fetch.ts'

const ann = { id: '1', email: 'ann@example.com', role: 'user' } as const
const form = { email: ann.email, password: 'correct horse battery' }

/** The code that the client loads when it needs it, and a call that needs it. */
const laterCode = {
  '../../client/credential/body.ts': (auth) => auth.refresh(),
  '../../client/lifecycle/step-up.ts': (auth) => auth.reauthenticate({ password: form.password }),
  '../../client/lifecycle/token-exchange.ts': (auth) => auth.getAccessToken({ audience: 'mail' }),
} satisfies Record<string, (auth: ReturnType<typeof createAuthClient>) => Promise<unknown>>

afterEach(() => vi.resetModules())

test.each(Object.entries(laterCode))(
  'code that does not load is a network that is down, and the next call loads it: %s',
  async (file, call) => {
    const storage = memoryStorage()
    const open = () => {
      const { fetch } = grantingFetch(() => ann)
      return createAuthClient({ baseUrl: 'https://auth.example.com', storage, fetch })
    }
    await open().login(form)
    const auth = open()
    vi.doMock(file, () => {
      throw new TypeError('Failed to fetch dynamically imported module')
    })
    await expect(call(auth)).rejects.toMatchObject({ reason: 'network_error' })
    expect((await auth.restore()).status).not.toBe('signed-out')
    vi.doUnmock(file)
    expect(await auth.restore()).toMatchObject({ status: 'signed-in', problem: null })
    await call(auth).catch((error: unknown) =>
      expect(error).not.toMatchObject({ reason: 'network_error' }),
    )
    auth.dispose()
  },
)

test('a request that needs no step-up does not need its code', async () => {
  const file = '../../client/lifecycle/step-up.ts'
  vi.doMock(file, () => {
    throw new TypeError('Failed to fetch dynamically imported module')
  })
  const service = grantingFetch(() => ann)
  const auth = createAuthClient({
    baseUrl: 'https://auth.example.com',
    storage: memoryStorage(),
    onStepUp: async () => true,
    fetch: async (input, init) => {
      const { pathname } = new URL(input as string)
      if (pathname.startsWith('/auth/')) return service.fetch(input, init)
      return Response.json({}, { status: pathname === '/orders' ? 200 : 401 })
    },
  })
  await auth.login(form)
  expect((await auth.fetch('/orders')).status).toBe(200)
  expect((await auth.fetch('/of-another-kind')).status).toBe(401)
  auth.dispose()
  vi.doUnmock(file)
})

test('with the option site, a sign-out without a network is noted for all apps, and the next one sends it', async () => {
  vi.stubGlobal('document', documentWithCookies())
  vi.stubGlobal('location', new URL('https://app.example.com'))
  const baseUrl = 'https://auth.example.com'
  const file = '../../client/credential/site-cookies.ts'
  vi.doMock(file, () => {
    throw new TypeError('Failed to fetch dynamically imported module')
  })
  const offline = () => Promise.reject(new TypeError('Failed to fetch'))
  const options = { baseUrl, transport: 'cookie', site: 'example.com' } as const
  const here = createAuthClient({ ...options, initial: { user: ann }, fetch: offline })
  expect(await here.logout()).toEqual({ isConfirmed: false, revoked: 0 })
  expect(here.session).toMatchObject({ status: 'signed-out', reason: 'logout' })
  here.dispose()
  vi.doUnmock(file)

  const { fetch, seen } = grantingFetch(() => ann)
  const there = createAuthClient({ ...options, fetch })
  expect(await there.restore()).toMatchObject({ status: 'signed-out', reason: 'logout' })
  expect(seen).toEqual(['/auth/logout'])
  expect(document.cookie).not.toContain('sign-out')
  there.dispose()
  vi.unstubAllGlobals()
})

test('a restore that fails for code is tried again', async () => {
  const file = '../../client/credential/body.ts'
  vi.stubGlobal('window', new EventTarget())
  vi.stubGlobal('document', new EventTarget())
  vi.stubGlobal('location', new URL('https://app.example.com'))
  vi.doMock(file, () => {
    throw new TypeError('Failed to fetch dynamically imported module')
  })
  const { fetch, seen } = grantingFetch(() => ann)
  const auth = createAuthClient({ baseUrl: 'https://auth.example.com', storage: stored(), fetch })
  expect(await auth.restore()).toEqual({ status: 'unknown', problem: 'network_error' })
  expect(seen).toEqual([])
  vi.doUnmock(file)
  window.dispatchEvent(new Event('online'))
  await vi.waitFor(() => expect(auth.session.status).toBe('signed-in'))
  auth.dispose()
  vi.unstubAllGlobals()
})

test('a restore that fails for its store is tried again', async () => {
  const storage = stored()
  const { fetch } = grantingFetch(() => ann)
  const auth = createAuthClient({ baseUrl: 'https://auth.example.com', storage, fetch })
  const load = vi.spyOn(storage, 'load').mockRejectedValue(new Error('the keychain is locked'))
  expect(await auth.restore()).toMatchObject({ status: 'unknown' })
  load.mockRestore()
  await vi.waitFor(() => expect(auth.session.status).toBe('signed-in'), 2_000)
  auth.dispose()
})

/** A store with something to restore. */
function stored() {
  const storage = memoryStorage()
  void storage.swap(null, JSON.stringify({ refreshToken: 'refresh-0' }))
  return storage
}

/** The cookies of a page, which each assignment adds to. */
function documentWithCookies() {
  const jar = new Map<string, string>()
  return Object.defineProperty(new EventTarget(), 'cookie', {
    get: () => [...jar].map(([name, value]) => `${name}=${value}`).join('; '),
    set: (line: string) => {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line)!
      jar.delete(name!)
      if (!line.includes('Max-Age=0')) jar.set(name!, value!)
    },
  })
}
