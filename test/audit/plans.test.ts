import { drizzle } from 'drizzle-orm/postgres-js'
import postgres from 'postgres'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { listOwnEvents } from '../../db/audit/own-events.ts'
import { countSessionsOf } from '../../db/audit/session-counts.ts'
import { searchSessions } from '../../db/audit/session-search.ts'
import { listOwnSessions, listSessionsOfUsers } from '../../db/audit/pages-of-users.ts'
import { listSessions } from '../../db/audit/sessions.ts'
import { listComeBacks } from '../../db/audit/timeline.ts'
import { readStandings } from '../../db/audit/standing.ts'
import { countEvents } from '../../db/audit/statistics.ts'
import { listEvents, listFamilyEvents, readForward } from '../../db/audit/events.ts'
import { listIncidents, listIncidentsByClient } from '../../db/audit/incidents.ts'
import type { Database } from '../../db/connection/connect.ts'
import { readFamilyEnds } from '../../db/ledger/ends.ts'
import { readFamilies } from '../../db/ledger/families.ts'
import { deleteStaleCounts } from '../../db/limit-counts.ts'
import { listUsers } from '../../db/users.ts'
import { freshDatabase, type FreshDatabase } from '../support/database.ts'

const families = 20_000
const users = 2_000
const thefts = 10

let owner: FreshDatabase
let database: Database
let asked: { query: string; params: unknown[] }[] = []

beforeAll(async () => {
  owner = await freshDatabase()
  const { ownerSql } = owner
  await ownerSql`
    insert into token_ledger.user_account (user_id, email, password_hash, role)
    select overlay(md5(n::text) placing '4' from 13)::uuid, 'user-' || n || '@example.com', 'x', 'user'
    from generate_series(0, ${users - 1}::int) n`
  // A minute apart, from now on, so that they reach into the months ahead.
  await ownerSql`
    create table public.made as
    select
      (left(token_ledger.first_family_id(at)::text, 14) || '7' || right(md5(n::text)::uuid::text, 21))::uuid as id,
      overlay(md5((n % ${users}::int)::text) placing '4' from 13)::uuid as user_id,
      at
    from generate_series(0, ${families - 1}::int) n,
      lateral (select date_trunc('milliseconds', now()) + n * interval '1 minute' as at) t`
  await ownerSql.begin(async (tx) => {
    await tx`
      insert into token_ledger.token_family (family_id, user_id, transport, created_at, absolute_expires_at)
      select id, user_id, 'body', at, at + interval '30 days' from public.made`
    await tx`
      insert into token_ledger.token_event
        (family_id, seq, kind, generation, occurred_at, expires_at, absolute_expires_at, user_id, transport, token_hash)
      select id, 1, 'issued', 0, at, at + interval '7 days', at + interval '30 days', user_id, 'body', sha256('x')
      from public.made`
  })
  await ownerSql`
    insert into token_ledger.token_event
      (family_id, seq, kind, generation, occurred_at, expires_at, absolute_expires_at, token_hash, salt)
    select
      id, 2, 'rotated', 1, at, at + interval '7 days', at + interval '30 days', sha256('y'),
      decode(repeat('00', 16), 'hex')
    from public.made`
  // One family in two thousand ended in a reuse, the newest of them long ago.
  await ownerSql`
    insert into token_ledger.token_event
      (family_id, seq, kind, generation, occurred_at, presented_generation)
    select id, 3, 'reuse_detected', 1, at, 0
    from public.made
    order by at
    limit ${thefts}`
  await ownerSql`
    insert into token_ledger.rate_limit (key, points, expire)
    select 'key-' || n, 1, n
    from generate_series(1, ${families}::int) n`
  await ownerSql`analyze`
  const sql = postgres(owner.url, {
    max: 1,
    connection: { role: 'token_ledger_app' },
    debug: (_connection, query, params) => asked.push({ query, params: [...params] }),
  })
  const openListener = () => ({ query: (question: any) => question(sql), close: () => {} })
  const statements = { db: drizzle(sql), statements: sql }
  database = {
    transactions: neverTaken,
    ...statements,
    calls: statements,
    questions: statements,
    limits: sql,
    openListener,
    reconnect: () => {},
    close: () => sql.end(),
  }
}, 120_000)

/** What is read for people goes past the pool that refreshes need: the first use of it would throw. */
const neverTaken = new Proxy((() => {}) as unknown as Database['transactions'], {
  apply: () => expect.fail('db/audit took the pool for transactions'),
  get: () => expect.fail('db/audit took the pool for transactions'),
})

afterAll(async () => {
  await database.close()
  await owner[Symbol.asyncDispose]()
})

/** Runs the real queries, explains each, and returns the tables that their plans scan from end to end. */
async function scannedWhole(run: () => Promise<unknown>): Promise<string[]> {
  asked = []
  await run()
  const scanned: string[] = []
  for (const { query, params } of asked.filter((one) => /token_(audit|ledger)/.test(one.query))) {
    const [row] = await owner.ownerSql.unsafe(`explain (format json) ${query}`, params as never[])
    const walk = (node: any) => {
      if (node['Node Type'] === 'Seq Scan') scanned.push(node['Relation Name'])
      for (const child of node.Plans ?? []) walk(child)
    }
    walk(row!['QUERY PLAN'][0].Plan)
  }
  expect(asked.length).toBeGreaterThan(0)
  // Partitions of coming months and the default are empty: a sequential scan is the fastest way to read them.
  const empty = await owner.ownerSql<{ name: string }[]>`
    select relname as name from pg_class where reltuples = 0 and relkind = 'r'`
  return scanned.filter((name) => !empty.some((one) => one.name === name))
}

const userId = 'cfcd2084-95d5-65ef-66e7-dff9f98764da'
const email = 'user-7@example.com'
const familyId = '01990000-0000-7000-8000-000000000000'
const position = { txid: '99999999', familyId, seq: 1 }
const page = { limit: 50 }

test.each<[string, () => Promise<unknown>]>([
  ['own active sessions', () => listOwnSessions(database, [{ ...page, userId }])],
  ['sessions of a user', () => listSessions(database, { userId }, page)],
  ['sessions of users', () => listSessionsOfUsers(database, [{ ...page, userId }])],
  [
    'the next page of them',
    () => listSessions(database, { userId }, { ...page, cursor: familyId }),
  ],
  ['sessions of an address', () => listSessions(database, { email }, page)],
  [
    'active sessions of an address',
    () => listSessions(database, { email, status: 'active' }, page),
  ],
  ['active sessions of all users', () => listSessions(database, { status: 'active' }, page)],
  ['active sessions of a user', () => listSessions(database, { userId, status: 'active' }, page)],
  ['events of a user', () => listEvents(database, { userId }, page)],
  ['events of a family', () => listFamilyEvents(database, familyId, 50)],
  ['newest events', () => listEvents(database, {}, page)],
  ['the next page of events', () => listEvents(database, {}, { ...page, cursor: position })],
  ['the live tail', () => readForward(database, { ...position, txid: '1' }, 500)],
  ['incidents', () => listIncidents(database, {}, page)],
  ['incidents by client', () => listIncidentsByClient(database, {})],
  ['all sessions', () => searchSessions(database, {}, page)],
  ['sessions by a prefix', () => searchSessions(database, { emailPrefix: 'user-7@' }, page)],
  ['sessions by a prefix of many', () => searchSessions(database, { emailPrefix: 'user-' }, page)],
  ['sessions of a network', () => searchSessions(database, { network: '10.0.0.0/8' }, page)],
  ['what happened to own sessions', () => listOwnEvents(database, userId, page)],
  ['the active sessions of users', () => countSessionsOf(database, [userId])],
  ['users by a prefix', () => listUsers(database, { emailPrefix: 'user-7@' }, page)],
  ['tokens that came back', () => listComeBacks(database, familyId, 1_000)],
  [
    'lately ended sessions',
    () =>
      readFamilyEnds(database.statements, {
        sinceAt: 0,
        keepMs: 990_000,
        after: null,
        limit: 5_000,
      }),
  ],
  ['stale counts of the rate limits', () => deleteStaleCounts(database, 1_000)],
])('the query for %s scans no table from end to end', async (_what, query) => {
  expect(await scannedWhole(query)).toEqual([])
})

test('a search looks at a limited number of sessions, and goes on from there', async () => {
  // More users than a search looks up by their addresses.
  const first = await searchSessions(database, { emailPrefix: 'user-19' }, { limit: 200 })
  expect(first.rows.length).toBeGreaterThan(0)
  for (const { email: found } of first.rows) expect(found).toMatch(/^user-19/)
  const nowhere = { network: '198.51.100.0/24' }
  let looked = 0
  let cursor: string | undefined
  do {
    const found = await searchSessions(database, nowhere, { limit: 50, cursor })
    expect(found.rows).toEqual([])
    cursor = found.nextCursor ?? undefined
    looked += 1
  } while (cursor !== undefined)
  expect(looked).toBe(families / 2_000 + 1)
})

test('the few sessions that ended in a reuse are found without reading all families', async () => {
  asked = []
  const found = await listSessions(database, { status: 'reuse_detected' }, page)
  expect(found).toHaveLength(thefts)
  const { query, params } = asked.find((one) => one.query.includes('reuse_detected'))!
  const [row] = await owner.ownerSql.unsafe(
    `explain (analyze, format json) ${query}`,
    params as never[],
  )
  let read = 0
  const walk = (node: any) => {
    if (node['Relation Name']?.startsWith('token_'))
      read += node['Actual Rows'] * node['Actual Loops']
    for (const child of node.Plans ?? []) walk(child)
  }
  walk(row!['QUERY PLAN'][0].Plan)
  expect(read).toBeLessThan(thefts * 20)
})

test('an hour of statistics does not read the months around it', async () => {
  const fromAt = Date.now() - 3_600_000
  const period = { fromAt, toAt: fromAt + 7_200_000 }
  expect(await countEvents(database, period, 3_600_000)).not.toHaveLength(0)
})

/** Runs a query for a family of this month, and returns how many partitions each part of its plan leaves unopened. */
async function unopenedBy(run: (ofMonth: string) => Promise<unknown>): Promise<number[]> {
  const { ownerSql } = owner
  const [{ id }] = (await ownerSql`select id from public.made order by id limit 1`) as any
  asked = []
  await run(id)
  const { query, params } = asked[0]!
  // As the service runs it: planned once, without the values.
  const [row] = await ownerSql.begin(async (tx) => {
    await tx`set local plan_cache_mode = force_generic_plan`
    await tx.unsafe(`prepare asked as ${query}`)
    const values = params.map((value) =>
      Array.isArray(value) ? `'{${value.join(',')}}'` : `'${String(value)}'`,
    )
    const plan = await tx.unsafe(
      `explain (analyze, format json) execute asked(${values.join(', ')})`,
    )
    await tx`deallocate asked`
    return plan
  })
  const unopened: number[] = []
  const walk = (node: any) => {
    if (node['Subplans Removed'] > 0) unopened.push(node['Subplans Removed'])
    for (const child of node.Plans ?? []) walk(child)
  }
  walk(row!['QUERY PLAN'][0].Plan)
  return unopened
}

test('a batch of refreshes opens no partition of the months before its oldest family', async () => {
  const closed = 6
  await owner.ownerSql`
    select token_ledger.make_month(date_trunc('month', now()) - ago * interval '1 month')
    from generate_series(1, ${closed}::int) ago`
  const before = await unopenedBy(async (ofMonth) => {
    const questions = [{ familyId: ofMonth, generation: null }]
    const read = await readFamilies(database.statements, questions)
    expect(read.families.size).toBe(1)
  })
  // For the family and its newest event.
  expect(before).toEqual([closed, closed])
  // Whether sessions are active is asked of their own months alone, so those ahead stay closed as well.
  const around = await unopenedBy(async (ofMonth) => {
    expect(await readStandings(database.statements, [ofMonth, ofMonth])).toHaveLength(2)
  })
  expect(around.length).toBeGreaterThanOrEqual(2)
  expect(Math.min(...around)).toBeGreaterThan(closed)
})

test('a batch of the log reads the events that it takes in, and none that wait behind them', async () => {
  const [row] = await owner.ownerSql.begin(async (tx) => {
    expect(await tx`select token_ledger.append_leaves() as count`).toEqual([{ count: 1_000 }])
    return tx<{ events: number }[]>`
      select sum(seq_tup_read + idx_tup_fetch)::integer as events
      from pg_stat_xact_user_tables
      where relname like 'token_event_%'`
  })
  // And the next one of each month, to compare them.
  expect(row!.events).toBeLessThan(1_020)
})
