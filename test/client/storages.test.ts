import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { fileStore } from '../../client/credential/file-store.ts'
import { createAuthClient, fromGetSet, type TokenStorage } from '../../client/index.ts'
import { startApp, type TestApp } from '../support/app.ts'
import { countKinds } from '../support/ledger-counts.ts'
import { makeUser, testPassword } from '../support/users.ts'

const run = promisify(execFile)
const folder = mkdtempSync(join(tmpdir(), 'token-ledger-storages-'))
const tool = join(folder, 'tool.mjs')

let app: TestApp
beforeAll(async () => {
  app = await startApp()
  await build({
    entryPoints: ['test/support/native-process.ts'],
    outfile: tool,
    bundle: true,
    platform: 'node',
    format: 'esm',
  })
})
afterAll(async () => {
  await app[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true })
})

async function signIn(storage?: TokenStorage) {
  const { email } = await makeUser(app.owner.url)
  const auth = createAuthClient({ baseUrl: app.url, ...(storage && { storage }) })
  const session = await auth.login({ email, password: testPassword })
  return { auth, email, session, kinds: () => countKinds(app, session.familyId) }
}

describe('Node without a storage', () => {
  test('the session lasts as long as the client', async () => {
    const { auth, session, kinds } = await signIn()
    await auth.refresh()
    await auth.refresh()
    expect(auth.session).toMatchObject({ status: 'signed-in', familyId: session.familyId })
    expect(await kinds()).toEqual({ issued: 1, rotated: 2 })
    auth.dispose()
  })

  test('two clients in one process do not hear each other', async () => {
    const [one, other] = [await signIn(), await signIn()]
    await Promise.all([one.auth.refresh(), other.auth.refresh()])
    await one.auth.logout()
    await other.auth.refresh()
    expect(other.auth.session).toMatchObject({ status: 'signed-in', user: { email: other.email } })
    other.auth.dispose()
  })
})

describe('fileStore with keepAccessToken', () => {
  test('a tool that is started again and again refreshes at most once in the lifetime of its token', async () => {
    const file = join(folder, 'loop')
    const { auth, session, kinds } = await signIn(fileStore(file, { keepAccessToken: true }))
    auth.dispose()
    const start = async (laterMs = 0) => {
      const args = [tool, app.url, file, 'keep', String(laterMs)]
      const { stdout } = await run(process.execPath, args)
      expect(JSON.parse(stdout)).toMatchObject({
        status: 'signed-in',
        familyId: session.familyId,
        user: session.user,
      })
    }
    for (let times = 0; times < 4; times += 1) await start()
    expect(await kinds()).toEqual({ issued: 1 })
    // A quarter of the lifetime is left: this start refreshes, and the next ones share its token.
    const laterMs = 700_000
    await start(laterMs)
    await Promise.all([start(laterMs), start(laterMs)])
    expect(await kinds()).toEqual({ issued: 1, rotated: 1 })
  })

  test('a kept token that a service refuses is replaced, and a sign-out removes it', async () => {
    const file = join(folder, 'refused')
    const make = () => fileStore(file, { keepAccessToken: true })
    const { auth, kinds } = await signIn(make())
    auth.dispose()
    const next = createAuthClient({ baseUrl: app.url, storage: make() })
    const rejected = (await next.getAccessToken())!
    expect(await kinds()).toEqual({ issued: 1 })
    expect(await next.getAccessToken({ rejected })).not.toBe(rejected)
    expect(await kinds()).toEqual({ issued: 1, rotated: 1 })
    await next.logout()
    expect(await make().load()).toBeNull()
    const last = createAuthClient({ baseUrl: app.url, storage: make() })
    expect(await last.restore()).toMatchObject({ status: 'signed-out' })
    for (const client of [next, last]) client.dispose()
  })

  test('without the option no access token is stored', async () => {
    const file = join(folder, 'plain')
    const { auth } = await signIn(fileStore(file))
    expect(await fileStore(file).load()).not.toContain((await auth.getAccessToken())!)
    auth.dispose()
  })
})

describe('fromGetSet', () => {
  /** A key-value store like MMKV or localStorage. */
  function openStore() {
    let text: string | undefined
    return {
      isLocked: false,
      check(): void {
        if (this.isLocked) throw new Error('User interaction is not allowed.')
      },
      get() {
        this.check()
        return text
      },
      set(next: string) {
        this.check()
        text = next
      },
      remove() {
        this.check()
        text = undefined
      },
    }
  }

  test.each(['with promises', 'without promises'])(
    'a session is kept in a store %s',
    async (how) => {
      const store = openStore()
      const pause = () => new Promise((resolve) => setTimeout(resolve, 2))
      const storage =
        how === 'without promises'
          ? fromGetSet({
              get: () => store.get(),
              set: (text) => store.set(text),
              remove: () => store.remove(),
            })
          : fromGetSet({
              get: () => pause().then(() => store.get()),
              set: (text) => pause().then(() => store.set(text)),
              remove: () => pause().then(() => store.remove()),
            })
      const { auth, session, kinds } = await signIn(storage)
      auth.dispose()
      const clients = Array.from({ length: 3 }, () =>
        createAuthClient({ baseUrl: app.url, storage }),
      )
      for (const restored of await Promise.all(clients.map((client) => client.restore())))
        expect(restored).toMatchObject({ status: 'signed-in', familyId: session.familyId })
      expect(await kinds()).not.toHaveProperty('reuse_detected')
      await clients[0]!.logout()
      expect(store.get()).toBeUndefined()
      for (const client of clients) client.dispose()
    },
  )

  test('of many swaps at once one wins', async () => {
    const store = openStore()
    const storage = fromGetSet({
      get: () => store.get(),
      set: (text) => store.set(text),
      remove: () => store.remove(),
    })
    const swaps = Array.from({ length: 20 }, (_, index) => storage.swap(null, String(index)))
    expect((await Promise.all(swaps)).filter(Boolean)).toHaveLength(1)
  })

  test('a store that is locked is no sign-out', async () => {
    const store = openStore()
    const storage = fromGetSet({
      get: () => store.get(),
      set: (text) => store.set(text),
      remove: () => store.remove(),
    })
    const { auth, session } = await signIn(storage)
    auth.dispose()
    store.isLocked = true
    const next = createAuthClient({ baseUrl: app.url, storage })
    expect(await next.restore()).toEqual({ status: 'unknown', problem: 'storage_failed' })
    store.isLocked = false
    await next.refresh()
    expect(next.session).toMatchObject({ status: 'signed-in', familyId: session.familyId })
    next.dispose()
  })
})
