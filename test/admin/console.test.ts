import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startApp, type TestApp } from '../support/app.ts'
import { auth, mutate, query } from '../support/http.ts'
import { kindsOf, signIn, type BodySession } from '../support/sessions.ts'
import { makeUser } from '../support/users.ts'

/** What the screens of the console ask. One service for the whole file. */
let app: TestApp
let admin: BodySession

beforeAll(async () => {
  app = await startApp({ TRUSTED_PROXIES: '127.0.0.1/32' })
  admin = await signIn(app, (await makeUser(app.owner.url, undefined, 'admin')).email)
})

afterAll(() => app[Symbol.asyncDispose]())

const ask = async (path: string, input?: unknown) => {
  const answer = await query(app.url, path, admin.accessToken, input)
  expect([path, input, answer.status, answer.reason]).toEqual([path, input, 200, undefined])
  return answer.data
}
const act = (path: string, input?: unknown) => mutate(app.url, path, admin.accessToken, input)

type From = { ip: string; userAgent: string }
const headersOf = ({ ip, userAgent }: From) => ({ 'x-forwarded-for': ip, 'user-agent': userAgent })
const refresh = (refreshToken: string, from: From, attemptId = randomUUID()) =>
  auth(app.url, 'refresh', { refreshToken, attemptId }, headersOf(from))

const home = { ip: '192.0.2.7', userAgent: 'shop/2.1' }
const sameNetwork = { ip: '192.0.2.99', userAgent: 'shop/2.1' }
const abroad = { ip: '203.0.113.9', userAgent: 'curl/8' }

/** A session that lost an answer, and whose first token came back from abroad. */
async function stolen(): Promise<BodySession> {
  const session = await signIn(app)
  const attemptId = randomUUID()
  await refresh(session.refreshToken, home, attemptId)
  const { data } = await refresh(session.refreshToken, sameNetwork, attemptId)
  await refresh(data.refreshToken, home)
  expect((await refresh(session.refreshToken, abroad)).reason).toBe('refresh_token_reused')
  return session
}

/** Two hours, from a whole minute on. */
function around() {
  const minute = Math.floor(Date.now() / 60_000) * 60_000
  const [from, to] = [minute - 3_600_000, minute + 3_600_000]
  return { from: new Date(from).toISOString(), to: new Date(to).toISOString() }
}

describe('the overview', () => {
  test('counts events in steps that suit the period, and says how the service is', async () => {
    const before = await ask('admin.overview', around())
    await stolen()
    const after = await ask('admin.overview', around())
    expect(after.bucket).toBe('minute')
    expect(after.items).toHaveLength(120)
    const more = Object.entries(after.totals).map(([kind, count]) => [
      kind,
      Number(count) - before.totals[kind],
    ])
    expect(Object.fromEntries(more)).toEqual({
      issued: 1,
      rotated: 2,
      replayed: 1,
      reuseDetected: 1,
      revoked: 0,
    })
    expect(after.incidentsOfWeek.reuse).toBe(before.incidentsOfWeek.reuse + 1)
    expect(after.activeSessions).toEqual(before.activeSessions)
    expect(after.activeSessions).toMatchObject({ isExact: true })
    expect(after.log).toMatchObject({ behindMs: expect.any(Number), refusal: null })
    expect(after.processes).toMatchObject([
      {
        isThis: true,
        isUp: true,
        version: expect.stringMatching(/^\d/),
        startedAt: expect.any(String),
        lagMs: expect.any(Number),
      },
    ])
    const day = { from: '2026-01-01T00:17:00Z', to: '2026-01-02T00:17:00Z' }
    const hours = await ask('admin.overview', day)
    expect(hours.bucket).toBe('hour')
    expect(hours.items).toHaveLength(25)
    expect(hours.items[0].at).toBe('2026-01-01T00:00:00.000Z')
    const year = { from: '2026-01-01T00:00:00Z', to: '2027-01-01T00:00:00Z' }
    expect((await ask('admin.overview', year)).items).toHaveLength(365)
  })

  test.each([
    ['2026-01-02T00:00:00Z', '2026-01-01T00:00:00Z'],
    ['1990-01-01T00:00:00Z', '2026-01-01T00:00:00Z'],
  ])('a period from %s to %s is refused', async (from, to) => {
    const answer = await query(app.url, 'admin.overview', admin.accessToken, { from, to })
    expect([answer.status, answer.reason]).toEqual([400, 'validation_failed'])
  })
})

describe('the list of sessions', () => {
  const listed = async (input: object) =>
    (await ask('admin.sessions.list', input)).items.map((one: any) => one.familyId)

  test('finds by the beginning of an address, by network, device and status, together', async () => {
    const own = await stolen()
    const other = await signIn(app, own.email)
    await refresh(other.refreshToken, home)
    const emailPrefix = own.email.slice(0, -4).toUpperCase()
    expect(await listed({ emailPrefix })).toEqual([other.familyId, own.familyId])
    expect(await listed({ emailPrefix, status: 'active' })).toEqual([other.familyId])
    expect(await listed({ emailPrefix, status: 'reuse_detected' })).toEqual([own.familyId])
    expect(await listed({ emailPrefix, status: 'revoked' })).toEqual([])
    for (const network of ['192.0.2.7', '192.0.2.0/24', '192.0.2', '192.'])
      expect(await listed({ emailPrefix, network })).toEqual([other.familyId, own.familyId])
    for (const network of ['192.0.3.0/24', '2001:db8::/32', '10.1'])
      expect(await listed({ emailPrefix, network })).toEqual([])
    expect(await listed({ userId: own.userId, device: 'SHOP/' })).toHaveLength(2)
    expect(await listed({ email: own.email, device: '%' })).toEqual([])
    expect(await listed({ email: own.email })).toHaveLength(2)
    expect(await listed({ email: own.email, userId: admin.userId })).toEqual([])
    expect(await listed({ emailPrefix: `${own.email}x` })).toEqual([])
  })

  test.each(['', 'x', '1.2.3.4/33', '1.2.3.4/24/1', '::1%lo', '256.1', '1.2.3.4.5'])(
    'a network "%s" is refused',
    async (network) => {
      const answer = await query(app.url, 'admin.sessions.list', admin.accessToken, { network })
      expect([answer.status, answer.reason]).toEqual([400, 'validation_failed'])
    },
  )

  test('pages by cursor to the end, also where nothing is found', async () => {
    const { email } = await makeUser(app.owner.url)
    const made = []
    for (let i = 0; i < 5; i++) made.push((await signIn(app, email)).familyId)
    const found: string[] = []
    let cursor: string | undefined
    do {
      const page = await ask('admin.sessions.list', { emailPrefix: email, limit: 2, cursor })
      found.push(...page.items.map((one: any) => one.familyId))
      cursor = page.nextCursor ?? undefined
    } while (cursor !== undefined)
    expect(found).toEqual(made.toReversed())
    const none = { network: '198.51.100.0/24', status: 'expired' }
    expect(await ask('admin.sessions.list', none)).toEqual({ items: [], nextCursor: null })
  })
})

test('one session tells its chain, which replay repaired a lost answer, and which token came back', async () => {
  const { familyId } = await stolen()
  const { chain, events } = await ask('admin.sessions.get', { familyId })
  expect(chain).toEqual({ intact: true, events: 5, firstBrokenSeq: null, problem: null })
  expect(events.map((event: any) => [event.kind, event.comeBack])).toEqual([
    ['issued', null],
    ['rotated', null],
    [
      'replayed',
      {
        spentBySeq: 2,
        spentAt: events[1].occurredAt,
        sinceSpentMs: expect.any(Number),
        sameNetwork: true,
        sameUserAgent: true,
      },
    ],
    ['rotated', null],
    [
      'reuse_detected',
      {
        spentBySeq: 2,
        spentAt: events[1].occurredAt,
        sinceSpentMs: expect.any(Number),
        sameNetwork: false,
        sameUserAgent: false,
      },
    ],
  ])
})

test('several sessions are ended with one reason, and each is answered', async () => {
  const [active, second, over] = [await signIn(app), await signIn(app), await stolen()]
  const unknown = randomUUID()
  const familyIds = [active.familyId, over.familyId, unknown, second.familyId, active.familyId]
  const { data } = await act('admin.sessions.revokeMany', { familyIds, reason: 'laptop lost' })
  expect(data).toEqual({
    revoked: 2,
    items: [
      { familyId: active.familyId, outcome: 'ended' },
      { familyId: over.familyId, outcome: 'was_over' },
      { familyId: unknown, outcome: 'unknown' },
      { familyId: second.familyId, outcome: 'ended' },
    ],
  })
  expect(await kindsOf(app, active.familyId)).toEqual(['issued', 'revoked'])
  const { items } = await ask('admin.actions.list', { limit: 2 })
  expect(items).toMatchObject(
    [second, active].map(({ familyId, userId, email }) => ({
      action: 'session_revoked',
      actorEmail: admin.email,
      targetUserId: userId,
      targetEmail: email,
      familyId,
      reason: 'laptop lost',
    })),
  )
  const many = Array.from({ length: 101 }, () => randomUUID())
  const tooMany = await act('admin.sessions.revokeMany', { familyIds: many, reason: 'x' })
  expect(tooMany.reason).toBe('validation_failed')
})

test('an admin who ends their own session among others ends all of them', async () => {
  const { email } = await makeUser(app.owner.url, undefined, 'admin')
  const own = await signIn(app, email)
  const other = await signIn(app)
  const input = { familyIds: [own.familyId, other.familyId], reason: 'leaving' }
  const { data } = await mutate(app.url, 'admin.sessions.revokeMany', own.accessToken, input)
  expect(data.revoked).toBe(2)
})

test('an incident has its signs of a theft and of a broken client, and is counted with its client', async () => {
  const { familyId } = await stolen()
  const { items } = await ask('admin.incidents.list', { limit: 1 })
  expect(items).toMatchObject([
    {
      familyId,
      generationsBehind: 2,
      sameNetwork: false,
      signs: {
        theft: ['other_network', 'other_user_agent', 'several_generations_behind'],
        brokenClient: ['soon_after'],
      },
    },
  ])
  const groups = (await ask('admin.incidents.byClient', around())).items
  const group = groups.find((one: any) => one.userAgent === abroad.userAgent)
  expect(group).toMatchObject({
    replaysElsewhere: 0,
    likeTheClient: 0,
    medianGenerationsBehind: 2,
    lastAt: items[0].occurredAt,
  })
  expect(group.reuse).toBe(group.users)
})

test('each act on a user answers what it did to the sessions', async () => {
  const { email, userId } = await signIn(app)
  await signIn(app, email)
  const listed = async () => (await ask('admin.users.list', { email })).items[0].activeSessions
  expect(await listed()).toBe(2)
  const done = { success: true }
  const set = await act('admin.users.setRole', { userId, role: 'admin' })
  expect(set.data).toEqual({ ...done, revoked: 0, activeSessions: 2 })
  const disabled = await act('admin.users.disable', { userId })
  expect(disabled.data).toEqual({ ...done, revoked: 2, activeSessions: 0 })
  const enabled = await act('admin.users.enable', { userId })
  expect(enabled.data).toEqual({ ...done, revoked: 0, activeSessions: 0 })
  await signIn(app, email)
  const ended = await act('admin.users.revokeSessions', { userId, reason: 'test' })
  expect(ended.data).toEqual({ revoked: 1, activeSessions: 0 })
  expect(await listed()).toBe(0)
})

test('an act that was committed is answered as one, also when the sessions that go on cannot be counted', async () => {
  const { ownerSql } = app.owner
  const { userId } = await signIn(app)
  await ownerSql`revoke select on token_ledger.open_family from token_ledger_app`
  try {
    const effect = { success: true, revoked: 0, activeSessions: null }
    const set = await act('admin.users.setRole', { userId, role: 'admin' })
    expect([set.status, set.data]).toEqual([200, effect])
    const enabled = await act('admin.users.enable', { userId })
    expect([enabled.status, enabled.data]).toEqual([200, effect])
  } finally {
    await ownerSql`grant select on token_ledger.open_family to token_ledger_app`
  }
})

describe("a person's own events", () => {
  test('are those of own sessions, in pages, and tell nothing of an admin', async () => {
    const { email } = await makeUser(app.owner.url)
    const ended = await signIn(app, email)
    const out = await signIn(app, email)
    await auth(app.url, 'logout', { refreshToken: out.refreshToken }, headersOf(home))
    const asked = { familyId: ended.familyId, reason: 'test' }
    await act('admin.sessions.revoke', asked)
    const own = await signIn(app, email)
    await stolen()
    const page = async (input: object) =>
      (await query(app.url, 'account.events', own.accessToken, input)).data
    const { items, nextCursor } = await page({})
    expect(nextCursor).toBeNull()
    expect(items.map((one: any) => [one.familyId, one.kind, one.reason, one.isCurrent])).toEqual([
      [own.familyId, 'issued', null, true],
      [ended.familyId, 'revoked', 'admin_revoked', false],
      [out.familyId, 'revoked', 'logout', false],
      [out.familyId, 'issued', null, false],
      [ended.familyId, 'issued', null, false],
    ])
    expect(items[1]).toMatchObject({ ip: null, userAgent: null })
    expect(items[1].incidentId).toBe(`${ended.familyId}:2`)
    expect(items[2]).toMatchObject({
      ip: home.ip,
      userAgent: home.userAgent,
      incidentId: `${out.familyId}:2`,
    })
    const paged: unknown[] = []
    let cursor: string | undefined
    do {
      const one = await page({ limit: 2, cursor })
      paged.push(...one.items)
      cursor = one.nextCursor ?? undefined
    } while (cursor !== undefined)
    expect(paged).toEqual(items)
    expect(JSON.stringify(items)).not.toContain(admin.userId)
  })
})

test('checkpoints are listed in pages, of the largest tree first', async () => {
  for (let i = 0; i < 3; i++) {
    await signIn(app)
    await expect.poll(async () => (await ask('admin.ledger.checkpoint')).behindMs).toBe(0)
    // A new one is signed a second after the last.
    await expect
      .poll(async () => {
        await ask('admin.ledger.checkpoint')
        return (await ask('admin.ledger.checkpoints')).items.length
      })
      .toBeGreaterThan(i)
  }
  const all = (await ask('admin.ledger.checkpoints')).items
  const sizes = all.map(({ size }: any) => size)
  expect(sizes.length).toBeGreaterThan(1)
  expect(sizes).toEqual(sizes.toSorted((a: number, b: number) => b - a))
  const first = await ask('admin.ledger.checkpoints', { limit: 1 })
  const rest = await ask('admin.ledger.checkpoints', { cursor: first.nextCursor })
  expect([...first.items, ...rest.items]).toEqual(all)
})
