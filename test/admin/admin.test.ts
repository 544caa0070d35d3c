import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startApp, type TestApp } from '../support/app.ts'
import { waitFor } from '../support/wait.ts'
import { auth, mutate, query } from '../support/http.ts'
import { isBlocked } from '../support/locks.ts'
import { makeUser, testPassword } from '../support/users.ts'

let app: TestApp
let admin: { userId: string; email: string; accessToken: string; familyId: string }

beforeAll(async () => {
  app = await startApp()
  const user = await makeUser(app.owner.url, undefined, 'admin')
  admin = { userId: user.id, ...(await signIn(user.email)) }
})

afterAll(() => app[Symbol.asyncDispose]())

async function signIn(email: string, headers: Record<string, string> = {}) {
  const input = { email, password: testPassword, transport: 'body' }
  const { data } = await auth(app.url, 'login', input, headers)
  const { accessToken, refreshToken, familyId } = data
  return { email, accessToken, refreshToken, familyId } as Record<
    'email' | 'accessToken' | 'refreshToken' | 'familyId',
    string
  >
}

const ask = (path: string, input?: unknown, token = admin.accessToken) =>
  query(app.url, `admin.${path}`, token, input)
const act = (path: string, input?: unknown, token = admin.accessToken) =>
  mutate(app.url, `admin.${path}`, token, input)

const someone = randomUUID()
const calls: [kind: 'ask' | 'act', path: string, input?: unknown][] = [
  ['ask', 'sessions.list'],
  ['ask', 'sessions.get', { familyId: someone }],
  ['ask', 'sessions.stateAt', { familyId: someone, at: '2026-01-01T00:00:00Z' }],
  ['ask', 'users.list'],
  ['ask', 'ledger.events'],
  ['ask', 'ledger.verify'],
  ['ask', 'ledger.checkpoints'],
  ['ask', 'incidents.list'],
  ['ask', 'incidents.byClient'],
  ['ask', 'actions.list'],
  ['ask', 'overview', { from: '2026-01-01T00:00:00Z', to: '2026-01-02T00:00:00Z' }],
  ['ask', 'stats', { from: '2026-01-01T00:00:00Z', to: '2026-01-02T00:00:00Z', bucket: 'hour' }],
  ['act', 'sessions.revoke', { familyId: someone, reason: 'test' }],
  ['act', 'sessions.revokeMany', { familyIds: [someone], reason: 'test' }],
  ['act', 'users.create', { email: 'nobody@example.com', role: 'user' }],
  ['act', 'users.setRole', { userId: someone, role: 'admin' }],
  ['act', 'users.disable', { userId: someone }],
  ['act', 'users.enable', { userId: someone }],
  ['act', 'users.revokeSessions', { userId: someone, reason: 'test' }],
]

describe('access to admin procedures', () => {
  test('AD-01 (ASVS 8.3.2): an admin who is disabled while a users.create call is waiting creates no account', async () => {
    const gone = await makeUser(app.owner.url, undefined, 'admin')
    const { accessToken } = await signIn(gone.email)
    const email = `${randomUUID()}@example.com`
    // Another transaction holds the address and gives it back: users.create waits for it.
    const holder = await app.owner.ownerSql.reserve()
    await holder`begin`
    await holder`
      insert into token_ledger.user_account (user_id, email, password_hash, role)
      values (${randomUUID()}, ${email}, 'none', 'user')`
    const making = act('users.create', { email, role: 'admin' }, accessToken)
    await waitFor(() => isBlocked(app))
    expect((await act('users.disable', { userId: gone.id })).status).toBe(200)
    await holder`rollback`
    holder.release()
    expect((await making).reason).toBe('access_token_revoked')
    expect((await ask('users.list', { email })).data.items).toEqual([])
  })

  test('every admin procedure refuses the access token of an ordinary user', async () => {
    const user = await signIn((await makeUser(app.owner.url)).email)
    for (const [kind, path, input] of calls) {
      const answer = await (kind === 'ask' ? ask : act)(path, input, user.accessToken)
      expect([path, answer.status, answer.reason]).toEqual([path, 403, 'role_required'])
    }
  })

  test('every admin procedure refuses a call without an access token', async () => {
    for (const [kind, path, input] of calls) {
      const answer = await (kind === 'ask' ? query : mutate)(
        app.url,
        `admin.${path}`,
        undefined,
        input,
      )
      expect([path, answer.status, answer.reason]).toEqual([path, 401, 'access_token_missing'])
    }
  })

  test('AD-01 (ASVS 8.3.2): a demoted admin is refused at the next call, although the access token still says admin', async () => {
    const other = await makeUser(app.owner.url, undefined, 'admin')
    const { accessToken } = await signIn(other.email)
    expect((await ask('users.list', undefined, accessToken)).status).toBe(200)
    expect((await act('users.setRole', { userId: other.id, role: 'user' })).status).toBe(200)
    for (const [kind, path, input] of calls) {
      const answer = await (kind === 'ask' ? ask : act)(path, input, accessToken)
      expect([path, answer.reason]).toEqual([path, 'role_required'])
    }
  })

  test('AD-01, AT-08, V6 (ASVS 7.4.1): an admin whose session was ended is refused at the next call', async () => {
    const other = await makeUser(app.owner.url, undefined, 'admin')
    const { accessToken, familyId } = await signIn(other.email)
    expect((await act('sessions.revoke', { familyId, reason: 'lost laptop' })).data).toEqual({
      revoked: 1,
    })
    for (const [kind, path, input] of calls) {
      const answer = await (kind === 'ask' ? ask : act)(path, input, accessToken)
      expect([path, answer.reason]).toEqual([path, 'access_token_revoked'])
    }
  })
})

describe('the sessions that an admin sees', () => {
  test('sessions are listed in pages, newest first, each one once', async () => {
    const user = await makeUser(app.owner.url)
    const begun: string[] = []
    for (let i = 0; i < 5; i++) begun.push((await signIn(user.email)).familyId)
    const seen: string[] = []
    let cursor: string | null | undefined
    do {
      const page = { userId: user.id, limit: 2, ...(cursor && { cursor }) }
      const { data } = await ask('sessions.list', page)
      seen.push(...data.items.map((item: any) => item.familyId))
      cursor = data.nextCursor
    } while (cursor)
    expect(seen).toEqual(begun.toSorted().toReversed())
    const byEmail = await ask('sessions.list', { email: user.email.toUpperCase() })
    expect(byEmail.data.items).toHaveLength(5)
    expect((await ask('sessions.list', { userId: user.id, status: 'revoked' })).data.items).toEqual(
      [],
    )
  })

  test('AD-02, AD-05 (ASVS 15.3.1 and 16.3.3): a session is shown with its events and the reasons that admins gave; no answer holds a secret', async () => {
    const user = await makeUser(app.owner.url)
    const { familyId, refreshToken } = await signIn(user.email)
    await auth(app.url, 'refresh', { refreshToken })
    await act('sessions.revoke', { familyId, reason: 'asked on the phone' })
    const { data } = await ask('sessions.get', { familyId })
    expect(data).toMatchObject({
      status: 'revoked',
      endReason: 'admin_revoked',
      incidentId: `${familyId}:3`,
      rotations: 1,
      events: [
        { kind: 'issued' },
        { kind: 'rotated' },
        { kind: 'revoked', actorUserId: admin.userId },
      ],
      adminActions: [
        { action: 'session_revoked', actorEmail: admin.email, reason: 'asked on the phone' },
      ],
    })
    expect(Object.keys(data.events[0]).toSorted()).toEqual([
      'actorUserId',
      'comeBack',
      'email',
      'expiresAt',
      'familyId',
      'generation',
      'hash',
      'ip',
      'kind',
      'occurredAt',
      'position',
      'presentedGeneration',
      'reason',
      'seq',
      'userAgent',
      'userId',
    ])
    const state = await ask('sessions.stateAt', { familyId, at: data.events[0].occurredAt })
    expect(state.data).toMatchObject({ status: 'active', generation: 0, endReason: null })
  })

  test('AD-06, V25 (ASVS 1.2.1 and 3.2.2): a user agent is stored cut to 512 characters and answered as text, whatever it holds', async () => {
    const user = await makeUser(app.owner.url)
    // Header values are bytes. U+202E reverses the direction of writing.
    const rtl = Buffer.from('\u202e').toString('latin1')
    const hostile = `<script>alert(1)</script>${rtl}\t"\\${'x'.repeat(8_192)}`
    const { familyId } = await signIn(user.email, { 'user-agent': hostile })
    const { data, headers } = await ask('sessions.get', { familyId })
    expect(data.userAgent).toBe(hostile.slice(0, 512))
    expect(headers.get('content-type')).toMatch(/^application\/json/)
    expect(headers.get('x-content-type-options')).toBe('nosniff')
    const [row] = await app.owner.ownerSql`
      select user_agent from token_audit.events where family_id = ${familyId}`
    expect(row!.user_agent).toBe(hostile.slice(0, 512))
  })

  test('AD-03, AD-05 (ASVS 7.4.5 and 16.3.3): revoking all sessions of a user records the reason with each session', async () => {
    const user = await makeUser(app.owner.url)
    const { familyId } = await signIn(user.email)
    await act('users.revokeSessions', { userId: user.id, reason: 'laptop stolen' })
    const { data } = await ask('sessions.get', { familyId })
    expect(data.adminActions).toMatchObject([
      { action: 'sessions_revoked', reason: 'laptop stolen' },
    ])
  })

  test('every procedure answers not_found for an unknown id', async () => {
    for (const [kind, path, input] of calls) {
      if (input === undefined || !/get|stateAt|revoke|setRole|disable|enable/.test(path)) continue
      // It answers for each id.
      if (path === 'sessions.revokeMany') continue
      const answer = await (kind === 'ask' ? ask : act)(path, input)
      expect([path, answer.status, answer.reason]).toEqual([path, 404, 'not_found'])
    }
    expect((await ask('ledger.verify', { familyId: someone })).reason).toBe('not_found')
  })

  test('AD-09 (ASVS 1.2.4 and 2.4.1): inputs out of bounds and unknown options are refused', async () => {
    for (const input of [{ limit: 201 }, { limit: 1e9 }, { sort: 'drop' }, { status: "x' or 1=1" }])
      expect((await ask('sessions.list', input)).reason).toBe('validation_failed')
    expect((await ask('ledger.events', { cursor: '1:2:3' })).reason).toBe('validation_failed')
    const from = '2020-01-01T00:00:00Z'
    const to = '2026-01-01T00:00:00Z'
    expect((await ask('stats', { from, to, bucket: 'minute' })).reason).toBe('validation_failed')
    expect((await ask('stats', { from: to, to: from, bucket: 'day' })).reason).toBe(
      'validation_failed',
    )
    const noReason = { familyId: admin.familyId, reason: '  ' }
    expect((await act('sessions.revoke', noReason)).reason).toBe('validation_failed')
  })
})

describe('the users that an admin manages', () => {
  test('AD-05 (ASVS 16.3.3): an admin creates, promotes, disables and enables a user, and each action names its actor', async () => {
    const email = `new-${randomUUID()}@example.com`
    const created = await act('users.create', { email, role: 'user' })
    const { userId } = created.data.user
    expect(created.data.password).toHaveLength(24)
    expect((await act('users.create', { email, role: 'user' })).reason).toBe('email_taken')
    const login = { email, password: created.data.password, transport: 'body' }
    expect((await auth(app.url, 'login', login)).status).toBe(200)
    await act('users.setRole', { userId, role: 'admin' })
    expect((await act('users.disable', { userId })).data).toMatchObject({ revoked: 1 })
    expect((await auth(app.url, 'login', login)).reason).toBe('invalid_credentials')
    await act('users.enable', { userId })
    expect((await auth(app.url, 'login', login)).status).toBe(200)
    expect((await act('users.revokeSessions', { userId, reason: 'drill' })).data.revoked).toBe(1)
    const { data } = await ask('users.list', { email: email.slice(0, 10).toUpperCase() })
    expect(data.items.find((item: any) => item.userId === userId)).toMatchObject({
      email,
      role: 'admin',
      disabled: false,
    })
    const done = await app.owner.ownerSql`
      select action, actor_user_id, role, reason from token_audit.admin_actions
      where target_user_id = ${userId} order by action_id`
    const actor_user_id = admin.userId
    expect(done).toEqual([
      { action: 'user_created', actor_user_id, role: 'user', reason: null },
      { action: 'role_set', actor_user_id, role: 'admin', reason: null },
      { action: 'user_disabled', actor_user_id, role: null, reason: null },
      { action: 'user_enabled', actor_user_id, role: null, reason: null },
      { action: 'sessions_revoked', actor_user_id, role: null, reason: 'drill' },
    ])
  })
})

describe('the ledger that an admin reads', () => {
  test('events are listed in pages, newest first, each one once, by kind, user and time', async () => {
    const seen: string[] = []
    let cursor: string | null | undefined
    do {
      const { data } = await ask('ledger.events', { limit: 7, ...(cursor && { cursor }) })
      seen.push(...data.items.map((item: any) => item.position))
      cursor = data.nextCursor
    } while (cursor)
    const [row] = await app.owner.ownerSql`select count(*)::int as n from token_ledger.token_event`
    expect(new Set(seen).size).toBe(seen.length)
    expect(seen).toHaveLength(row!.n)
    const revoked = await ask('ledger.events', { kinds: ['revoked'], limit: 200 })
    expect(new Set(revoked.data.items.map((item: any) => item.kind))).toEqual(new Set(['revoked']))
    const mine = await ask('ledger.events', { userId: admin.userId })
    expect(mine.data.items.map((item: any) => item.email)).toEqual([admin.email])
    const future = await ask('ledger.events', { from: '2999-01-01T00:00:00Z' })
    expect(future.data).toEqual({ items: [], nextCursor: null })
  })

  test('the ledger is verified as a whole or for one family', async () => {
    const [row] = await app.owner.ownerSql`select count(*)::int as n from token_ledger.token_event`
    const answers = await Promise.all([ask('ledger.verify'), ask('ledger.verify', {})])
    for (const { data } of answers)
      expect(data).toMatchObject({ intact: true, events: row!.n, broken: [] })
    const one = await ask('ledger.verify', { familyId: admin.familyId })
    expect(one.data).toEqual({ intact: true, families: 1, events: 1, broken: [] })
  })

  test('statistics count events in buckets and include empty buckets', async () => {
    const now = Date.now()
    const from = new Date(now - 3 * 3_600_000).toISOString()
    const to = new Date(now + 3_600_000).toISOString()
    const { data } = await ask('stats', { from, to, bucket: 'hour' })
    expect(data.items.length).toBeGreaterThanOrEqual(4)
    const sum = (name: string) => data.items.reduce((n: number, b: any) => n + b[name], 0)
    const kinds = await app.owner.ownerSql`
      select kind, count(*)::int as n from token_ledger.token_event group by kind`
    const counts = Object.fromEntries(kinds.map(({ kind, n }) => [kind, n]))
    expect([sum('issued'), sum('rotated'), sum('revoked')]).toEqual([
      counts.issued,
      counts.rotated,
      counts.revoked,
    ])
  })
})
