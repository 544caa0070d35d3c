import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import type { Sql } from 'postgres'
import { startApp, type TestApp } from '../support/app.ts'
import { signIn, type BodySession } from '../support/sessions.ts'
import { makeUser } from '../support/users.ts'
import { waitFor } from '../support/wait.ts'

let app: TestApp
let admin: BodySession
let asked: string[]
let verified: { mock: { calls: unknown[] } }

beforeAll(async () => {
  app = await startApp()
  admin = await signIn(app, (await makeUser(app.owner.url, undefined, 'admin')).email)
})
afterAll(() => app[Symbol.asyncDispose]())

beforeEach(() => {
  asked = []
  const { calls } = app.database
  const { statements } = calls
  const counting = new Proxy(statements, {
    apply(sql, self, args) {
      asked.push((args[0] as string[]).join('?'))
      return Reflect.apply(sql, self, args) as unknown
    },
  })
  Object.assign(calls, { statements: counting })
  verified = vi.spyOn(crypto.subtle, 'verify')
  return () => Object.assign(calls, { statements })
})
afterEach(() => vi.restoreAllMocks())

/** Takes a token that this process has not seen: those that it has accepted are not verified again. */
async function renewToken(): Promise<void> {
  admin = await signIn(app, admin.email)
}

async function batch(procedure: string, inputs: readonly unknown[]): Promise<number> {
  const input = encodeURIComponent(JSON.stringify(Object.fromEntries(inputs.entries())))
  const path = inputs.map(() => procedure).join()
  const response = await fetch(`${app.url}/trpc/${path}?batch=1&input=${input}`, {
    headers: { authorization: `Bearer ${admin.accessToken}` },
  })
  await response.text()
  return response.status
}

const hour = { from: '2026-01-01T00:00:00Z', to: '2026-01-01T01:00:00Z', bucket: 'minute' }

test.each([
  ['sessions.list', Array.from({ length: 7 }, () => ({ limit: 200 }))],
  ['admin.stats', Array.from({ length: 8 }, () => hour)],
])(
  'TR-03: for a batch of %s the access token is verified once, and the database asked once whether the session is active',
  async (procedure, inputs) => {
    await renewToken()
    asked = []
    expect(await batch(procedure, inputs)).toBe(200)
    expect(verified.mock.calls).toHaveLength(1)
    expect(asked.filter((statement) => statement.includes('made.expires_at'))).toHaveLength(1)
  },
)

test('TR-03: a batch of `me` asks the database nothing', async () => {
  // The process first has to know which sessions have ended.
  await waitFor(async () => {
    asked = []
    return (await batch('me', [null])) === 200 && asked.length === 0
  })
  await renewToken()
  asked = []
  verified.mock.calls.length = 0
  expect(await batch('me', [null, null, null])).toBe(200)
  expect([verified.mock.calls.length, asked]).toEqual([1, []])
})

test('TR-03: a batch with a forged access token is verified once, logged once, and each call gets its answer', async () => {
  const logged = vi.spyOn(app.app.log, 'info')
  const forged = admin.accessToken.replace(/.{86}$/, 'A'.repeat(86))
  const response = await fetch(`${app.url}/trpc/me,sessions.list,admin.stats?batch=1`, {
    headers: { authorization: `Bearer ${forged}` },
  })
  expect(response.status).toBe(401)
  expect(response.headers.get('www-authenticate')).toContain('error="invalid_token"')
  const bodies: any = await response.json()
  expect(bodies.map(({ error }: any) => [error.data.path, error.data.reason])).toEqual(
    ['me', 'sessions.list', 'admin.stats'].map((path) => [path, 'access_token_invalid']),
  )
  expect(verified.mock.calls).toHaveLength(1)
  expect(logged.mock.calls.filter(([line]: any) => line.event === 'call_refused')).toHaveLength(1)
})

/** Statements of the pool for questions that wait for a lock. */
async function waitingForTable(sql: Sql): Promise<number> {
  const rows = await sql`
    select from pg_stat_activity
    where datname = current_database() and application_name = 'token-ledger'
      and wait_event_type = 'Lock' and wait_event = 'relation'`
  return rows.length
}

test('TR-03: an admin has one question at a time, and another admin the next connection', async () => {
  const { ownerSql } = app.owner
  const other = await signIn(app, (await makeUser(app.owner.url, undefined, 'admin')).email)
  const holder = await ownerSql.reserve()
  await holder`begin`
  await holder`lock table token_ledger.admin_action in access exclusive mode`
  const { familyId } = await signIn(app)
  const story = { familyId }
  const mine = batch('admin.sessions.get', [story, story, story, story])
  const first = await waitFor(async () => (await waitingForTable(ownerSql)) > 0)
  const url = `${app.url}/trpc/admin.sessions.get?input=${encodeURIComponent(JSON.stringify(story))}`
  const theirs = fetch(url, { headers: { authorization: `Bearer ${other.accessToken}` } })
  await waitFor(async () => (await waitingForTable(ownerSql)) === 2)
  await holder`rollback`
  holder.release()
  expect([first, await mine, (await theirs).status]).toEqual([true, 200, 200])
})

test('TR-03: a user whose twenty questions wait gets 429 for the next, and another user is answered', async () => {
  const { ownerSql } = app.owner
  const other = await signIn(app, (await makeUser(app.owner.url, undefined, 'admin')).email)
  const holder = await ownerSql.reserve()
  await holder`begin`
  await holder`lock table token_ledger.admin_action in access exclusive mode`
  const { familyId } = await signIn(app)
  const story = (token: string) =>
    fetch(
      `${app.url}/trpc/admin.sessions.get?input=${encodeURIComponent(JSON.stringify({ familyId }))}`,
      { headers: { authorization: `Bearer ${token}` } },
    )
  let refusals = 0
  const mine = Array.from({ length: 30 }, async () => {
    const answer = await story(admin.accessToken)
    if (answer.status === 429) refusals += 1
    return answer
  })
  const refused = await Promise.any(
    mine.map(async (answer) => {
      const { status, headers } = await answer
      if (status === 200) throw new Error('answered')
      return [status, headers.get('retry-after')]
    }),
  )
  expect(refused).toEqual([429, '1'])
  const listed = await fetch(`${app.url}/trpc/admin.users.list`, {
    headers: { authorization: `Bearer ${other.accessToken}` },
  })
  expect(listed.status).toBe(200)
  // All thirty have arrived: one that came after the others were answered would be answered, too.
  await waitFor(async () => refusals === 9)
  await holder`rollback`
  holder.release()
  const statuses = (await Promise.all(mine)).map(({ status }) => status)
  expect(statuses.filter((status) => status === 429)).toHaveLength(9)
})
