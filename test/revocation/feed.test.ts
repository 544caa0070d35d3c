import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { connect } from '../../db/connection/connect.ts'
import { followEndedSessions } from '../../server/sessions/ended-sessions.ts'
import { endSession } from '../../server/sessions/revocation.ts'
import { createEndedSet } from '../../server/verifier/revocations/ended-set.ts'
import { startApp } from '../support/app.ts'
import { freshDatabase } from '../support/database.ts'
import { feedToken, readFeed, slowLooks, toldAtFirst } from '../support/feed.ts'
import { auth } from '../support/http.ts'
import { startLedger, testCaller } from '../support/ledger.ts'
import { beginSessions } from '../support/begun-sessions.ts'
import { startServer } from '../support/server.ts'
import { signIn } from '../support/sessions.ts'
import { makeUser } from '../support/users.ts'
import { startDatabaseProxy } from '../support/wire.ts'

const timeout = 60_000
const by = { reason: 'logout', actorUserId: null, caller: testCaller } as const

test('without REVOCATIONS_TOKEN there is no feed', async () => {
  await using app = await startApp()
  const headers = { authorization: `Bearer ${feedToken}` }
  const answer = await fetch(`${app.url}/revocations`, { headers })
  expect(answer.status).toBe(404)
})

test('the feed is for who brings REVOCATIONS_TOKEN, and nobody else (RFC 6750 §3)', async () => {
  await using app = await startApp({ REVOCATIONS_TOKEN: feedToken, METRICS_TOKEN: 'm'.repeat(20) })
  const admin = await makeUser(app.owner.url, undefined, 'admin')
  const { accessToken } = await signIn(app, admin.email)
  const refused = async (authorization: string | undefined, search = '') => {
    const headers = authorization === undefined ? {} : { authorization }
    const answer = await fetch(`${app.url}/revocations${search}`, { headers })
    const body: any = await answer.json()
    return {
      status: answer.status,
      reason: body.error.data.reason,
      challenge: answer.headers.get('www-authenticate'),
    }
  }
  const challenge = 'Bearer realm="token-ledger"'
  const missing = { status: 401, reason: 'access_token_missing', challenge }
  const invalid = {
    status: 401,
    reason: 'access_token_invalid',
    challenge: `${challenge}, error="invalid_token"`,
  }
  expect(await refused(undefined)).toEqual(missing)
  expect(await refused(undefined, `?access_token=${feedToken}`)).toEqual(missing)
  for (const given of [
    `Bearer ${accessToken}`,
    `Bearer ${'m'.repeat(20)}`,
    `Bearer ${feedToken}x`,
    `Bearer ${feedToken.slice(0, -1)}`,
    `Bearer ${feedToken.slice(0, -1)}x`,
    feedToken,
    'Bearer undefined',
  ])
    expect({ given, ...(await refused(given)) }).toEqual({ given, ...invalid })
  // Each is a fact, but for those that bring nothing.
  const metrics = await (await fetch(`${app.url}/metrics`)).text()
  expect(metrics).toContain('{event="call_refused",reason="access_token_invalid"} 7')
  for (const method of ['HEAD', 'POST']) {
    const headers = { authorization: `Bearer ${feedToken}` }
    expect((await fetch(`${app.url}/revocations`, { method, headers })).status).toBe(404)
  }
})

test('the feed is never kept by a cache, and hardened as every answer', async () => {
  await using app = await startApp({ REVOCATIONS_TOKEN: feedToken })
  const leave = new AbortController()
  const headers = { authorization: `Bearer ${feedToken}` }
  const answer = await fetch(`${app.url}/revocations`, { headers, signal: leave.signal })
  expect(answer.status).toBe(200)
  expect(Object.fromEntries(answer.headers)).toMatchObject({
    'content-type': 'text/event-stream',
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    'content-security-policy': expect.stringContaining("default-src 'none'"),
  })
  leave.abort()
})

test('the feed tells which session is over, since when and until when that matters', async () => {
  await using app = await startApp({ REVOCATIONS_TOKEN: feedToken })
  const { familyId, refreshToken } = await signIn(app)
  await auth(app.url, 'logout', { refreshToken })
  const [row] = await app.owner.ownerSql`
    select occurred_at from token_ledger.token_event where kind = 'revoked'`
  const endedAt = new Date(row!.occurred_at)
  await expect
    .poll(async () => (await toldAtFirst(app.url)).map(({ event, data }) => ({ event, data })))
    .toEqual([
      {
        event: 'ended',
        data: {
          sid: familyId,
          endedAt: endedAt.toISOString(),
          // 900 s of an access token's life, 30 s of skew, 60 s to spare.
          expiresAt: new Date(endedAt.getTime() + 990_000).toISOString(),
        },
      },
    ])
})

test(
  'a reader that comes and goes misses no end and is told none twice, whoever ends what meanwhile',
  { timeout },
  async () => {
    await using app = await startApp({ REVOCATIONS_TOKEN: feedToken })
    const user = await makeUser(app.owner.url)
    const sessions = await beginSessions(app.owner.url, user, 300)
    const deps = { sql: app.database.sql, logSecurityEvent: () => {} }
    const seen: string[] = []
    let lastEventId: string | undefined
    let visits = 0
    const done = new AbortController()
    const reader = (async () => {
      while (!done.signal.aborted || seen.length < sessions.length) {
        visits += 1
        const visit = new AbortController()
        const timer = setTimeout(() => visit.abort(), 20 + Math.random() * 150)
        try {
          for await (const { event, id, data } of readFeed(app.url, {
            lastEventId,
            signal: visit.signal,
          })) {
            if (event !== 'ended') continue
            seen.push(data.sid)
            lastEventId = id ?? lastEventId
          }
        } catch {
          // It left.
        }
        clearTimeout(timer)
        if (visits > 1_000) throw new Error(`${seen.length} of ${sessions.length} were told`)
      }
    })()
    const writers = Array.from({ length: 4 }, async (_, writer) => {
      for (const [i, { familyId }] of sessions.entries()) {
        if (i % 4 !== writer) continue
        await endSession(deps, { familyId }, by)
        await sleep(Math.random() * 30)
      }
    })
    await Promise.all(writers)
    done.abort()
    await reader
    expect(visits).toBeGreaterThan(5)
    expect(seen.toSorted()).toEqual(sessions.map(({ familyId }) => familyId).toSorted())
  },
)

test('an id of another process, or of none, is told everything', { timeout }, async () => {
  await using owner = await freshDatabase()
  const env = { REVOCATIONS_TOKEN: feedToken }
  await using a = await startServer(owner.url, env)
  await using b = await startServer(owner.url, env)
  const user = await makeUser(owner.url)
  const sessions = await beginSessions(owner.url, user, 3)
  for (const { refreshToken } of sessions) await auth(a.url, 'logout', { refreshToken })
  await expect.poll(async () => (await toldAtFirst(a.url)).length).toBe(3)
  await expect.poll(async () => (await toldAtFirst(b.url)).length).toBe(3)
  const [first, , last] = await toldAtFirst(a.url)
  expect(await toldAtFirst(a.url, first!.id!)).toHaveLength(2)
  expect(await toldAtFirst(a.url, last!.id!)).toHaveLength(0)
  const feedId = last!.id!.split(':')[0]
  for (const id of [`${feedId}:999`, `${feedId}:-1`, `${feedId}:`, 'nonsense', '2', ''])
    expect(await toldAtFirst(a.url, id)).toHaveLength(3)
  expect(await toldAtFirst(b.url, last!.id!)).toHaveLength(3)
  const search = `?after=${encodeURIComponent(first!.id!)}`
  const answer = await fetch(`${a.url}/revocations${search}`, {
    headers: { authorization: `Bearer ${feedToken}` },
  })
  const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  while (!text.includes('event: checked')) text += (await reader.read()).value
  await reader.cancel()
  expect(text.match(/event: ended/g)).toHaveLength(2)
})

test(
  'a feed whose process cannot ask the database claims nothing, stays open, and goes on',
  { timeout },
  async () => {
    await using owner = await freshDatabase()
    await using wire = await startDatabaseProxy(owner.url)
    await using server = await startServer(wire.url, { REVOCATIONS_TOKEN: feedToken })
    const checks: { at: number; lagMs: number }[] = []
    const ended: string[] = []
    const done = new AbortController()
    const reading = (async () => {
      for await (const { event, data } of readFeed(server.url, { signal: done.signal }))
        if (event === 'checked') checks.push({ at: performance.now(), lagMs: data.lagMs })
        else ended.push(data.sid)
    })().catch(() => {})
    await expect.poll(() => checks.length).toBeGreaterThan(2)
    const user = await makeUser(owner.url)
    const [session] = await beginSessions(owner.url, user, 1)
    wire.cut()
    // One comes every second, as long as it can be said.
    await expect.poll(() => performance.now() - checks.at(-1)!.at).toBeGreaterThan(3_500)
    for (const { lagMs } of checks) expect(lagMs).toBeLessThanOrEqual(5_000)
    const before = checks.length
    const database = connect(owner.url, { role: 'token_ledger_app' })
    await endSession({ sql: database.sql, logSecurityEvent: () => {} }, session!, by)
    await database.close()
    wire.mend()
    await expect.poll(() => ended).toEqual([session!.familyId])
    await expect.poll(() => checks.length).toBeGreaterThan(before)
    done.abort()
    await reading
  },
)

test('a feed claims nothing before its process has looked', { timeout }, async () => {
  await using owner = await freshDatabase()
  const [session] = await beginSessions(owner.url, await makeUser(owner.url), 1)
  const database = connect(owner.url, { role: 'token_ledger_app' })
  await endSession({ sql: database.sql, logSecurityEvent: () => {} }, session!, by)
  await database.close()
  await slowLooks(owner)
  await using server = await startServer(owner.url, { REVOCATIONS_TOKEN: feedToken })
  const feed = readFeed(server.url)
  const first = feed.next()
  expect(await Promise.race([first, sleep(3_000, 'nothing')])).toBe('nothing')
  await owner.ownerSql`alter table token_ledger.token_event disable row level security`
  expect((await first).value).toMatchObject({ event: 'ended', data: { sid: session!.familyId } })
  expect((await feed.next()).value).toMatchObject({ event: 'checked' })
  await feed.return()
})

test('HT-03: a server that is told to stop ends its feeds', { timeout }, async () => {
  await using owner = await freshDatabase()
  const server = await startServer(owner.url, { REVOCATIONS_TOKEN: feedToken })
  const feeds = Array.from({ length: 3 }, () => readFeed(server.url))
  for (const feed of feeds) expect((await feed.next()).value!.event).toBe('checked')
  const stopped = server.kill('SIGTERM')
  // To their end: one that is cut throws.
  for (const feed of feeds) for await (const _ of feed);
  expect(await stopped).toBe(0)
})

test(
  'at most 200 feeds are open in a process; one that is left makes room',
  { timeout },
  async () => {
    await using app = await startApp({ REVOCATIONS_TOKEN: feedToken })
    const feeds = Array.from({ length: 200 }, () => readFeed(app.url))
    await Promise.all(feeds.map((feed) => feed.next()))
    const answer = await fetch(`${app.url}/revocations`, {
      headers: { authorization: `Bearer ${feedToken}` },
    })
    expect(answer.status).toBe(429)
    expect(answer.headers.get('retry-after')).toBe('5')
    expect(await answer.json()).toMatchObject({ error: { data: { reason: 'too_many_attempts' } } })
    await feeds[0]!.return()
    await expect.poll(() => toldAtFirst(app.url).catch((error: Error) => error.message)).toEqual([])
    await Promise.all(feeds.map((feed) => feed.return()))
  },
)

test('more ends than there is room for: those known are refused, of others the database is asked', async () => {
  await using ledger = await startLedger()
  const user = await ledger.makeUser()
  const sessions = await beginSessions(ledger.owner.url, user, 4)
  const log = { warn: () => {} } as never
  const ended = followEndedSessions(ledger.database, { log, capacity: 2 })
  const states = () => sessions.map(({ familyId }) => ended.stateOf(familyId))
  try {
    await expect.poll(() => ended.isCurrent()).toBe(true)
    expect(new Set(states())).toEqual(new Set(['active']))
    const [first, second, third] = sessions
    for (const one of [first, second]) await endSession(ledger.deps, one!, by)
    await expect.poll(states).toEqual(['ended', 'ended', 'active', 'active'])
    await endSession(ledger.deps, third!, by)
    await expect.poll(states).toEqual(['ended', 'ended', 'unknown', 'unknown'])
    expect(ended.isCurrent()).toBe(false)
  } finally {
    await ended.close()
  }
})

test('what is known is forgotten in time, and a set that was too small is complete again', async () => {
  const set = createEndedSet(300, 2)
  const one = (familyId: string) => ({ familyId, endedAt: Date.now() })
  set.add([one('a'), one('b')])
  expect(set.isComplete()).toBe(true)
  expect(set.after(0, 10)).toMatchObject({
    ended: [{ familyId: 'a' }, { familyId: 'b' }],
    position: 2,
  })
  set.add([one('a')])
  expect(set.isComplete()).toBe(true)
  set.add([one('c')])
  expect(set.isComplete()).toBe(false)
  expect([set.has('a'), set.has('b'), set.has('c')]).toEqual([true, true, false])
  await expect.poll(() => set.isComplete()).toBe(true)
  set.add([one('d')])
  expect([set.has('a'), set.has('b'), set.has('d')]).toEqual([false, false, true])
  // Places go on counting: nobody is told what came before, nor misses what came after.
  expect(set.after(2, 10)).toMatchObject({ ended: [{ familyId: 'd' }], position: 3 })
  expect(set.after(1, 10)).toMatchObject({ ended: [{ familyId: 'd' }], position: 3 })
  expect(set.after(3, 10)).toMatchObject({ ended: [], position: 3 })
})
