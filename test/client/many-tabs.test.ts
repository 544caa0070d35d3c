import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import { createAuthClient, type AuthClient } from '../../client/index.ts'
import type { TabMessage } from '../../client/tabs/channel.ts'
import { startApp, type TestApp } from '../support/app.ts'
import { countKinds, expectNoReuse } from '../support/ledger-counts.ts'
import { makeUser, testPassword } from '../support/users.ts'
import { waitFor } from '../support/wait.ts'

const tabCount = 70

let app: TestApp
let jar = { cookie: '' }
let tabs: AuthClient[] = []

beforeAll(async () => {
  app = await startApp({ RATE_LIMITS: 'on' })
})
afterAll(() => app[Symbol.asyncDispose]())
beforeEach(() => {
  jar = { cookie: '' }
  vi.stubGlobal('localStorage', storageOf(new Map()))
})
afterEach(() => {
  for (const tab of tabs.splice(0)) tab.dispose()
  vi.unstubAllGlobals()
})

/** A tab of a browser: all share a cookie, a storage and a channel. Node has a real `BroadcastChannel`. */
function openTab(): AuthClient {
  const tab = createAuthClient({
    baseUrl: app.url,
    transport: 'cookie',
    fetch: async (url, init) => {
      const headers = { 'content-type': 'application/json', origin: app.url, cookie: jar.cookie }
      const answer = await fetch(url, { ...init, headers })
      const [pair] = answer.headers.getSetCookie().at(-1)?.split('; ') ?? []
      if (pair !== undefined) jar.cookie = pair
      return answer
    },
  })
  tabs.push(tab)
  return tab
}

async function signIn(): Promise<string> {
  const { email } = await makeUser(app.owner.url)
  const { familyId } = await openTab().login({ email, password: testPassword })
  return familyId
}

test('70 tabs at once are signed in within 10 s, with a few refreshes for all', async () => {
  vi.stubGlobal('navigator', { locks: lockManager() })
  const familyId = await signIn()
  const begun = performance.now()
  const sessions = await Promise.all(Array.from({ length: tabCount }, () => openTab().restore()))
  expect(performance.now() - begun).toBeLessThan(10_000)
  for (const session of sessions) expect(session).toMatchObject({ status: 'signed-in', familyId })
  const { rotated = 0 } = await countKinds(app, familyId)
  expect(rotated).toBeLessThan(10)
  await expectNoReuse(app)
})

test('a tab that meets the limit takes the access token of the tab that refreshed last', async () => {
  vi.stubGlobal('navigator', { locks: lockManager() })
  const familyId = await signIn()
  // One after the other, so that no tab waits for another: the service refuses the 41st refresh.
  for (let opened = 0; opened < tabCount; opened += 1)
    expect(await openTab().restore()).toMatchObject({ status: 'signed-in', familyId })
  const { rotated = 0 } = await countKinds(app, familyId)
  expect(rotated).toBeGreaterThan(30)
  expect(rotated).toBeLessThan(tabCount)
  await expectNoReuse(app)
})

test('a tab takes no token of another session than the one its origin shares', async () => {
  const locks = lockManager()
  vi.stubGlobal('navigator', { locks })
  await signIn()
  const channel = new BroadcastChannel(`token-ledger ${app.url}`)
  const ear = new BroadcastChannel(channel.name)
  let messagesHeard = 0
  ear.addEventListener('message', () => void (messagesHeard += 1))
  // The tab gets the lock long after it has heard of the other session, so it asks for that token.
  vi.stubGlobal('navigator', {
    locks: {
      request: async (name: string, options: object, work: () => Promise<unknown>) => {
        await waitFor(() => messagesHeard >= 20)
        return locks.request(name, options, work)
      },
    },
  })
  const forged = {
    accessToken: 'forged',
    tokenType: 'Bearer' as const,
    expiresIn: 900,
    refreshExpiresAt: new Date().toISOString(),
    familyId: '01890000-0000-7000-8000-000000000001',
    user: { id: '2', email: 'bob@example.com', role: 'user' as const },
  }
  const record = { familyId: forged.familyId, refreshExpiresAt: forged.refreshExpiresAt }
  const now = Date.now()
  const opened = openTab()
  const restoring = opened.restore()
  const messages: TabMessage[] = [
    {
      kind: 'refreshed',
      record: { ...record, startedAt: now, settledAt: now + 60_000, isAlone: true },
    },
    { kind: 'answered', grant: forged },
  ]
  // Until the tab has asked the others, and had its answer.
  const posting = setInterval(() => {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a channel has its origin
    for (const message of messages) channel.postMessage(message)
  }, 1)
  const restored = await restoring.finally(() => clearInterval(posting))
  expect(restored).toMatchObject({ status: 'signed-in' })
  expect(await opened.getAccessToken()).not.toBe('forged')
  channel.close()
  ear.close()
})

test('an explicit refresh asks the service, and not another tab', async () => {
  vi.stubGlobal('navigator', { locks: lockManager() })
  const familyId = await signIn()
  const [one, other] = [openTab(), openTab()]
  await Promise.all([one.restore(), other.restore()])
  const { rotated: before = 0 } = await countKinds(app, familyId)
  await one.refresh()
  await other.refresh()
  expect((await countKinds(app, familyId)).rotated).toBe(before + 2)
})

/** The Web Locks of one browser. */
function lockManager() {
  let last: Promise<unknown> = Promise.resolve()
  return {
    request(_name: string, _options: object, task: () => Promise<unknown>) {
      const done = last.then(task)
      last = done.catch(() => {})
      return done
    },
  }
}

function storageOf(entries: Map<string, string>) {
  return {
    getItem: (key: string) => entries.get(key) ?? null,
    setItem: (key: string, value: string) => void entries.set(key, value),
    removeItem: (key: string) => void entries.delete(key),
  }
}
