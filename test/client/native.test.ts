import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { build } from 'esbuild'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { fileStore } from '../../client/credential/file-store.ts'
import {
  AuthClientError,
  createAuthClient,
  memoryStorage,
  type TokenStorage,
} from '../../client/index.ts'
import { startApp } from '../support/app.ts'
import { moveClock, passMinutes } from '../support/clock.ts'
import { countKinds, expectNoReuse } from '../support/ledger-counts.ts'
import { hold, noFault, randomFault, seeded, startBehindProxy } from '../support/proxy.ts'
import { makeUser, testPassword } from '../support/users.ts'
import { repeats } from '../support/long.ts'

const seed = 20_260_818
const refreshes = repeats(80, 500)
const hourMs = 3600 * 1000
const kills = repeats(3, 10)

const folder = mkdtempSync(join(tmpdir(), 'token-ledger-native-'))
const tool = join(folder, 'tool.mjs')

beforeAll(() =>
  build({
    entryPoints: ['test/support/native-process.ts'],
    outfile: tool,
    bundle: true,
    platform: 'node',
    format: 'esm',
  }),
)
afterAll(() => rmSync(folder, { recursive: true }))

test('a tool that is killed between the answer and its storage goes on an hour later', async () => {
  await using app = await startApp()
  const { email } = await makeUser(app.owner.url)
  const file = join(folder, 'killed')
  const auth = createAuthClient({ baseUrl: app.url, storage: fileStore(file) })
  const { familyId } = await auth.login({ email, password: testPassword })
  auth.dispose()
  for (let round = 1; round <= kills; round += 1) {
    const killed = await runTool(app.url, file, 'die', (round - 1) * hourMs)
    expect(killed).toEqual({ signal: 'SIGKILL', stdout: '' })
    await moveClock(app.owner.ownerSql, round * hourMs)
    const { stdout } = await runTool(app.url, file, 'live', round * hourMs)
    expect(JSON.parse(stdout)).toMatchObject({ status: 'signed-in', familyId })
  }
  expect(await countKinds(app)).toEqual({ issued: 1, rotated: kills, replayed: kills })
  await expectNoReuse(app)
}, 120_000)

test('two tools on one file and a faulty connection: many refreshes, no false sign-out', async () => {
  await using behind = await startBehindProxy()
  const { app, proxy } = behind
  const { email } = await makeUser(app.owner.url)
  const file = join(folder, 'shared')
  const make = () => createAuthClient({ baseUrl: proxy.url, storage: fileStore(file) })
  const tools = [make(), make()]
  await tools[0]!.login({ email, password: testPassword })
  await tools[1]!.restore()
  const random = seeded(seed)
  proxy.chooseFault = () => randomFault(random)
  const refreshAgain = async (auth: (typeof tools)[number]) => {
    for (let done = 0; done < refreshes / tools.length;) {
      const outcome = await auth.refresh().then(() => 'done', reasonOf)
      expect(['done', 'network_error', 'timeout', 'unreadable_answer']).toContain(outcome)
      if (outcome === 'done') done += 1
      expect(auth.session.status).toBe('signed-in')
    }
  }
  {
    await using _ = passMinutes(app.owner.ownerSql)
    await Promise.all(tools.map(refreshAgain))
  }
  proxy.chooseFault = () => noFault
  await tools[0]!.refresh()
  for (const auth of tools) auth.dispose()
  const { rotated = 0 } = await countKinds(app)
  expect(rotated).toBeGreaterThan(refreshes / 2)
  await expectNoReuse(app)
}, 300_000)

test('a request that is late by two refreshes of another tool is not reuse', async () => {
  await using behind = await startBehindProxy()
  const { app, proxy } = behind
  const { email } = await makeUser(app.owner.url)
  const storage = memoryStorage()
  const late = createAuthClient({ baseUrl: proxy.url, storage })
  const quick = createAuthClient({ baseUrl: proxy.url, storage })
  await late.login({ email, password: testPassword })
  const held = hold('hold-request')
  proxy.chooseFault = () => held.fault
  const first = late.refresh()
  await expect.poll(() => proxy.seen.at(-1)).toBe('/auth/refresh')
  proxy.chooseFault = () => noFault
  const [, second] = [await quick.refresh(), quick.refresh()]
  await delay(1_000)
  held.release()
  await Promise.all([first, second])
  await late.refresh()
  expect(await countKinds(app)).toMatchObject({ rotated: 3 })
  await expectNoReuse(app)
})

test('thirty tools that start at once on one file share one session', async () => {
  await using app = await startApp()
  const { email } = await makeUser(app.owner.url)
  const file = join(folder, 'ten')
  const first = createAuthClient({ baseUrl: app.url, storage: fileStore(file) })
  const { familyId } = await first.login({ email, password: testPassword })
  const tools = Array.from({ length: 30 }, () =>
    createAuthClient({ baseUrl: app.url, storage: fileStore(file) }),
  )
  const sessions = await Promise.all(tools.map((auth) => auth.restore()))
  for (const session of sessions) expect(session).toMatchObject({ status: 'signed-in', familyId })
  await expectNoReuse(app)
})

test('a storage that fails does not sign the user out, and the lost token is repaired', async () => {
  await using app = await startApp()
  const { email } = await makeUser(app.owner.url)
  const memory = memoryStorage()
  let swapsUntilFull = Infinity
  const storage = {
    load: () => memory.load(),
    async swap(expected: string | null, next: string | null) {
      swapsUntilFull -= 1
      if (swapsUntilFull < 0) throw new Error('ENOSPC')
      return memory.swap(expected, next)
    },
  }
  const auth = createAuthClient({ baseUrl: app.url, storage })
  await auth.login({ email, password: testPassword })
  // The attempt is stored; its outcome cannot be.
  swapsUntilFull = 1
  await expect(auth.refresh()).rejects.toMatchObject({ reason: 'storage_failed' })
  expect(auth.session).toMatchObject({ status: 'signed-in', problem: 'storage_failed' })
  await moveClock(app.owner.ownerSql, hourMs)
  swapsUntilFull = Infinity
  await auth.refresh()
  expect(await countKinds(app)).toMatchObject({ rotated: 1 })
  await expectNoReuse(app)
})

test('CL-11: a file or a keychain that lost its newest version costs nothing: at once, 15 s and five minutes later', async () => {
  await using app = await startApp()
  const { email } = await makeUser(app.owner.url)
  let laterMs = 0
  for (const ms of [0, 15_000, 5 * 60_000])
    for (const store of [fileStore(join(folder, `rolled-back-${ms}`)), memoryStorage()]) {
      const texts: (string | null)[] = []
      const storage: TokenStorage = {
        load: () => store.load(),
        async swap(expected, next) {
          const isStored = await store.swap(expected, next)
          if (isStored) texts.push(next)
          return isStored
        },
      }
      const before = createAuthClient({ baseUrl: app.url, storage })
      const { familyId } = await before.login({ email, password: testPassword })
      await before.refresh()
      before.dispose()
      expect(await store.swap(texts.at(-1)!, texts.at(-2)!)).toBe(true)
      await moveClock(app.owner.ownerSql, (laterMs += ms))
      const after = createAuthClient({ baseUrl: app.url, storage })
      expect(await after.restore()).toMatchObject({ status: 'signed-in', familyId })
      after.dispose()
    }
  expect(await countKinds(app)).toEqual({ issued: 6, rotated: 6, replayed: 6 })
})

test('a sign-out by one tool also signs out another whose refresh is in flight', async () => {
  await using app = await startApp()
  const { email } = await makeUser(app.owner.url)
  const storage = memoryStorage()
  const one = createAuthClient({ baseUrl: app.url, storage })
  const other = createAuthClient({ baseUrl: app.url, storage })
  await one.login({ email, password: testPassword })
  await other.restore()
  const [refreshed] = await Promise.all([
    other.refresh().then(() => 'done', reasonOf),
    one.logout(),
  ])
  expect(['done', 'refresh_token_missing', 'session_revoked']).toContain(refreshed)
  await other.refresh().catch(() => {})
  expect(other.session.status).toBe('signed-out')
  expect(await storage.load()).toBeNull()
})

test('register begins exactly one session', async () => {
  await using app = await startApp()
  const storage = memoryStorage()
  const auth = createAuthClient({ baseUrl: app.url, storage })
  await auth.register({ email: 'new@example.com', password: testPassword })
  expect(await storage.load()).toContain('tlr1.')
  await auth.refresh()
  const open = await app.owner.ownerSql`
    select family_id from token_audit.sessions where status = 'active'`
  expect(open).toHaveLength(1)
})

test('of fifty swaps at once on one file one wins, and only the owner may read the file', async () => {
  const file = join(folder, 'deep', 'swaps')
  const stores = Array.from({ length: 50 }, () => fileStore(file))
  let value: string | null = null
  for (let round = 0; round < 10; round += 1) {
    const next = stores.map((_, index) => `${round}-${index}`)
    const results = await Promise.all(stores.map((store, index) => store.swap(value, next[index]!)))
    expect(results.filter(Boolean)).toHaveLength(1)
    value = next[results.indexOf(true)]!
    expect(await stores[0]!.load()).toBe(value)
  }
  expect(await stores[0]!.swap('another', 'text')).toBe(false)
  expect(await stores[1]!.swap(value, null)).toBe(true)
  expect(await stores[2]!.load()).toBeNull()
  const files = readdirSync(join(folder, 'deep'))
  expect(files).toHaveLength(1)
  expect(statSync(join(folder, 'deep', files[0]!)).mode & 0o777).toBe(0o600)
})

function reasonOf(error: unknown): string {
  return error instanceof AuthClientError ? error.reason : String(error)
}

function runTool(
  url: string,
  file: string,
  mode: 'live' | 'die',
  laterMs: number,
): Promise<{ signal: string | null; stdout: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [tool, url, file, mode, String(laterMs)], (error, stdout) =>
      resolve({ signal: error?.signal ?? null, stdout }),
    )
  })
}
