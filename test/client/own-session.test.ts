import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createAuthClient, type AuthClient, type AuthClientOptions } from '../../client/index.ts'
import { startApp, type TestApp } from '../support/app.ts'
import { auth } from '../support/http.ts'
import { signInWithCookie } from '../support/sessions.ts'
import { makeUser, testPassword } from '../support/users.ts'

const notes = new Map<string, string>()
let clients: AuthClient[]

beforeEach(() => {
  notes.clear()
  clients = []
  vi.stubGlobal('localStorage', {
    getItem: (key: string) => notes.get(key) ?? null,
    setItem: (key: string, value: string) => void notes.set(key, value),
    removeItem: (key: string) => void notes.delete(key),
  })
})

afterEach(() => {
  for (const client of clients) client.dispose()
  vi.unstubAllGlobals()
})

/** A page with one cookie jar, as its browser has. */
function openPage(app: TestApp, jar: { cookie: string }, options: AuthClientOptions = {}) {
  const requests: string[] = []
  const client = createAuthClient({
    ...options,
    baseUrl: app.url,
    transport: 'cookie',
    fetch: async (url, init) => {
      requests.push(new URL(url as string).pathname)
      const answer = await fetch(url, {
        ...init,
        headers: { 'content-type': 'application/json', origin: app.url, cookie: jar.cookie },
      })
      const [pair] = answer.headers.getSetCookie().at(-1)?.split('; ') ?? []
      if (pair !== undefined) jar.cookie = pair
      return answer
    },
  })
  clients.push(client)
  return { client, requests }
}

test('CL-10: a page takes up no session that another origin began, and sends no request for it', async () => {
  await using app = await startApp()
  const { cookie } = await signInWithCookie(app)
  const page = openPage(app, { cookie })
  expect(await page.client.restore()).toMatchObject({
    status: 'signed-out',
    reason: 'refresh_token_missing',
  })
  expect(await page.client.getAccessToken()).toBeNull()
  expect(page.requests).toEqual([])
})

test('CL-10: a page takes up the session that it began, also after a reload, until it signs out', async () => {
  await using app = await startApp()
  const { email } = await makeUser(app.owner.url)
  const jar = { cookie: '' }
  const before = openPage(app, jar)
  const { familyId } = await before.client.login({ email, password: testPassword })
  before.client.dispose()
  const after = openPage(app, jar)
  expect(await after.client.restore()).toMatchObject({ status: 'signed-in', familyId })
  await after.client.logout()
  after.client.dispose()
  jar.cookie = (await signInWithCookie(app)).cookie
  expect(await openPage(app, jar).client.restore()).toMatchObject({ status: 'signed-out' })
})

test('CL-10: a page whose cookie was replaced by that of another session is signed out, and the other session stays', async () => {
  await using app = await startApp()
  const { email } = await makeUser(app.owner.url)
  const jar = { cookie: '' }
  const before = openPage(app, jar)
  await before.client.login({ email, password: testPassword })
  before.client.dispose()
  const other = await signInWithCookie(app)
  jar.cookie = other.cookie
  expect(await openPage(app, jar).client.restore()).toMatchObject({
    status: 'signed-out',
    reason: 'refresh_token_missing',
  })
  expect(jar.cookie).toBe(other.cookie)
  const answer = await auth(app.url, 'refresh', {}, { origin: app.url, cookie: other.cookie })
  expect(answer.data.familyId).toBe(other.familyId)
})

test('CL-10: adoptForeignSession takes up any session, or those that began before a date', async () => {
  await using app = await startApp()
  const session = await signInWithCookie(app)
  const restore = async (adoptForeignSession: boolean | Date) => {
    notes.clear()
    const { client } = openPage(app, jar, { adoptForeignSession })
    const { status } = await client.restore()
    client.dispose()
    return status
  }
  const jar = { cookie: session.cookie }
  expect(await restore(false)).toBe('signed-out')
  expect(await restore(true)).toBe('signed-in')
  expect(await restore(new Date(Date.now() - 60_000))).toBe('signed-out')
  expect(await restore(new Date(Date.now() + 60_000))).toBe('signed-in')
  // From then on it counts as begun here.
  const { client } = openPage(app, jar)
  expect(await client.restore()).toMatchObject({
    status: 'signed-in',
    familyId: session.familyId,
  })
})

test('outside of browsers, where no other host can set a cookie, a client takes up the session of its cookie', async () => {
  vi.unstubAllGlobals()
  await using app = await startApp()
  const { cookie, familyId } = await signInWithCookie(app)
  const { client } = openPage(app, { cookie })
  expect(await client.restore()).toMatchObject({ status: 'signed-in', familyId })
})
