import { setTimeout as sleep } from 'node:timers/promises'
import fastify from 'fastify'
import { expect, test } from 'vitest'
import { connect } from '../../db/connection/connect.ts'
import { followEndedSessions } from '../../server/sessions/ended-sessions.ts'
import { endSession } from '../../server/sessions/revocation.ts'
import { mountRevocations } from '../../server/http/routes/revocations.ts'
import { startApp } from '../support/app.ts'
import { freshDatabase } from '../support/database.ts'
import { feedToken, letPollsGoOn, readFeed, readFeedSoFar, slowDownPolls } from '../support/feed.ts'
import { fillLedger } from '../support/filled-ledger.ts'
import { auth } from '../support/http.ts'
import { startLedger, testCaller } from '../support/ledger.ts'
import { beginSessions } from '../support/begun-sessions.ts'
import { startServer } from '../support/server.ts'
import { signIn } from '../support/sessions.ts'
import { makeUser } from '../support/users.ts'
import { startDatabaseWire } from '../support/wire.ts'

const timeout = 60_000
const by = { reason: 'logout', actorUserId: null, caller: testCaller } as const

test('without REVOCATIONS_TOKEN there is no feed', async () => {
  await using app = await startApp()
  const headers = { authorization: `Bearer ${feedToken}` }
  const answer = await fetch(`${app.url}/revocations`, { headers })
  expect(answer.status).toBe(404)
})

test('only a caller with REVOCATIONS_TOKEN gets the feed (RFC 6750 §3)', async () => {
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
  // Each refusal is a security event, but for requests without a token.
  const metrics = await (await fetch(`${app.url}/metrics`)).text()
  expect(metrics).toContain('{event="call_refused",reason="access_token_invalid"} 7')
  for (const method of ['HEAD', 'POST']) {
    const headers = { authorization: `Bearer ${feedToken}` }
    expect((await fetch(`${app.url}/revocations`, { method, headers })).status).toBe(404)
  }
})

test('the feed forbids caching and has the hardening headers of every answer', async () => {
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

test('the feed sends the id of an ended session, when it ended and until when that matters', async () => {
  await using app = await startApp({ REVOCATIONS_TOKEN: feedToken })
  const { familyId, refreshToken } = await signIn(app)
  await auth(app.url, 'logout', { refreshToken })
  const [row] = await app.owner.ownerSql`
    select occurred_at from token_ledger.token_event where kind = 'revoked'`
  const endedAt = new Date(row!.occurred_at)
  await expect
    .poll(async () => (await readFeedSoFar(app.url)).map(({ event, data }) => ({ event, data })))
    .toEqual([
      {
        event: 'ended',
        data: {
          sid: familyId,
          endedAt: endedAt.toISOString(),
          // 900 s of an access token's life, 30 s of clock skew, 60 s to spare.
          expiresAt: new Date(endedAt.getTime() + 990_000).toISOString(),
        },
      },
    ])
})

test(
  'a reader that reconnects at random gets every end exactly once, whichever process wrote it',
  { timeout },
  async () => {
    await using app = await startApp({ REVOCATIONS_TOKEN: feedToken })
    const user = await makeUser(app.owner.url)
    await fillLedger(app.owner.ownerSql, { userId: user.id, families: 300 })
    const sessions = await app.owner.ownerSql<{ familyId: string }[]>`
      select family_id as "familyId" from token_ledger.token_family`
    const deps = { sql: app.database.transactions, logSecurityEvent: () => {} }
    const seen: string[] = []
    let lastEventId: string | undefined
    let visits = 0
    const done = new AbortController()
    const reader = (async () => {
      while (!done.signal.aborted || seen.length < sessions.length) {
        visits += 1
        const visit = new AbortController()
        let timer: NodeJS.Timeout | undefined
        try {
          for await (const { event, id, data } of readFeed(app.url, {
            lastEventId,
            signal: AbortSignal.any([visit.signal, AbortSignal.timeout(2_000)]),
          })) {
            // From the first line on, so that a slow machine does not end visits before they began.
            timer ??= setTimeout(() => visit.abort(), Math.random() * 150)
            if (event !== 'ended') continue
            seen.push(data.sid)
            lastEventId = id ?? lastEventId
          }
        } catch {
          // The reader has left.
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

test(
  'a reader with the event id of another process, or without one, gets everything',
  { timeout },
  async () => {
    const env = { REVOCATIONS_TOKEN: feedToken }
    await using a = await startApp(env)
    const { owner } = a
    const kept = { ...owner, [Symbol.asyncDispose]: async () => {} }
    await using b = await startApp(env, { owner: kept })
    const user = await makeUser(owner.url)
    const sessions = await beginSessions(owner.url, user, 3)
    for (const { refreshToken } of sessions) await auth(a.url, 'logout', { refreshToken })
    await expect.poll(async () => (await readFeedSoFar(a.url)).length).toBe(3)
    await expect.poll(async () => (await readFeedSoFar(b.url)).length).toBe(3)
    const [first, , last] = await readFeedSoFar(a.url)
    expect(await readFeedSoFar(a.url, first!.id!)).toHaveLength(2)
    expect(await readFeedSoFar(a.url, last!.id!)).toHaveLength(0)
    const feedId = last!.id!.split(':')[0]
    for (const id of [`${feedId}:999`, `${feedId}:-1`, `${feedId}:`, 'nonsense', '2', ''])
      expect(await readFeedSoFar(a.url, id)).toHaveLength(3)
    expect(await readFeedSoFar(b.url, last!.id!)).toHaveLength(3)
    const search = `?after=${encodeURIComponent(first!.id!)}`
    const answer = await fetch(`${a.url}/revocations${search}`, {
      headers: { authorization: `Bearer ${feedToken}` },
    })
    const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader()
    let text = ''
    while (!text.includes('event: checked')) text += (await reader.read()).value
    await reader.cancel()
    expect(text.match(/event: ended/g)).toHaveLength(2)
  },
)

test(
  'a feed whose process cannot ask the database sends no `checked`, stays open, and goes on',
  { timeout },
  async () => {
    await using owner = await freshDatabase()
    await using wire = await startDatabaseWire(owner.url)
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
    // One comes every second, as long as the polls succeed.
    await expect.poll(() => performance.now() - checks.at(-1)!.at).toBeGreaterThan(3_500)
    for (const { lagMs } of checks) expect(lagMs).toBeLessThanOrEqual(5_000)
    const before = checks.length
    const database = connect(owner.url, { role: 'token_ledger_app' })
    await endSession({ sql: database.transactions, logSecurityEvent: () => {} }, session!, by)
    await database.close()
    wire.mend()
    await expect.poll(() => ended).toEqual([session!.familyId])
    await expect.poll(() => checks.length).toBeGreaterThan(before)
    done.abort()
    await reading
  },
)

test('a feed sends nothing before its process has polled', { timeout }, async () => {
  await using owner = await freshDatabase()
  const [session] = await beginSessions(owner.url, await makeUser(owner.url), 1)
  const database = connect(owner.url, { role: 'token_ledger_app' })
  await endSession({ sql: database.transactions, logSecurityEvent: () => {} }, session!, by)
  await database.close()
  await slowDownPolls(owner)
  await using server = await startServer(owner.url, { REVOCATIONS_TOKEN: feedToken })
  const feed = readFeed(server.url)
  const first = feed.next()
  expect(await Promise.race([first, sleep(1_500, 'nothing')])).toBe('nothing')
  await letPollsGoOn(owner)
  expect((await first).value).toMatchObject({ event: 'ended', data: { sid: session!.familyId } })
  expect((await feed.next()).value).toMatchObject({ event: 'checked' })
  await feed.return()
})

test('HT-03: a server that is stopping ends its feeds', { timeout }, async () => {
  await using owner = await freshDatabase()
  const server = await startServer(owner.url, { REVOCATIONS_TOKEN: feedToken })
  const feeds = Array.from({ length: 3 }, () => readFeed(server.url))
  for (const feed of feeds) expect((await feed.next()).value!.event).toBe('checked')
  const stopped = server.kill('SIGTERM')
  // To their end: a connection that is cut would throw.
  for (const feed of feeds) for await (const _ of feed);
  expect(await stopped).toBe(0)
})

test('a process has at most 200 open feeds; closing one makes room', { timeout }, async () => {
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
  await expect.poll(() => readFeedSoFar(app.url).catch((error: Error) => error.message)).toEqual([])
  await Promise.all(feeds.map((feed) => feed.return()))
})

test('with more ends than the process can hold, known ones are refused and the database is asked about those it may have lost', async () => {
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
    expect([ended.isComplete(), ended.size]).toEqual([true, 2])
    await endSession(ledger.deps, third!, by)
    await expect.poll(states).toEqual(['ended', 'ended', 'unknown', 'active'])
    expect([ended.isComplete(), ended.isCurrent(), ended.size]).toEqual([false, true, 2])
  } finally {
    await ended.close()
  }
})

test('a feed that cannot hold every end says `incomplete`, and answers for each session', async () => {
  await using ledger = await startLedger()
  const { database, deps } = ledger
  const user = await ledger.makeUser()
  const [first, second, alive] = await beginSessions(ledger.owner.url, user, 3)
  const endedSessions = followEndedSessions(database, {
    log: { warn: () => {} } as never,
    capacity: 1,
  })
  const app = fastify()
  mountRevocations(app, {
    config: { revocationsToken: feedToken } as never,
    database,
    endedSessions,
  })
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  try {
    const feed = readFeed(url)
    expect((await feed.next()).value!.event).toBe('checked')
    for (const one of [first, second]) await endSession(deps, one!, by)
    const events: string[] = []
    for await (const { event } of feed) {
      events.push(event)
      if (event === 'incomplete') break
    }
    // An older follower does not know the word: it waits for `checked`, and is behind after five seconds.
    expect(events.filter((event) => event !== 'checked')).toEqual(['ended', 'incomplete'])
    const states = [first, second, alive].map(async (one) => asked(url, one!.familyId))
    expect(await Promise.all(states)).toEqual([true, true, false])
  } finally {
    await endedSessions.close()
    await app.close()
  }
})

async function asked(url: string, sid: string): Promise<unknown> {
  const headers = { authorization: `Bearer ${feedToken}` }
  const answer = await fetch(`${url}/revocations/${sid}`, { headers })
  const { ended, ...rest }: any = await answer.json()
  expect([answer.status, rest]).toEqual([200, { sid }])
  return ended
}

test('GET /revocations/<sid> says whether one session has ended, to a caller with REVOCATIONS_TOKEN', async () => {
  await using app = await startApp({ REVOCATIONS_TOKEN: feedToken })
  const { familyId, refreshToken } = await signIn(app)
  expect(await asked(app.url, familyId)).toBe(false)
  await auth(app.url, 'logout', { refreshToken })
  await expect.poll(() => asked(app.url, familyId)).toBe(true)

  const refused = async (path: string, authorization = '') => {
    const headers = { ...(authorization && { authorization }) }
    const answer = await fetch(`${app.url}/revocations/${path}`, { headers })
    const body: any = await answer.json()
    return [answer.status, body.error.data.reason]
  }
  expect(await refused(familyId)).toEqual([401, 'access_token_missing'])
  expect(await refused(familyId, 'Bearer wrong')).toEqual([401, 'access_token_invalid'])
  expect(await refused('no-uuid', `Bearer ${feedToken}`)).toEqual([400, 'validation_failed'])
})
