import { drizzle } from 'drizzle-orm/postgres-js'
import postgres from 'postgres'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { listActiveSessions, listSessions } from '../../db/audit/sessions.ts'
import type { Database } from '../../db/connection/connect.ts'
import { readEpoch } from '../../db/ledger/locks.ts'
import { endAllSessions } from '../../server/sessions/revocation.ts'
import { startSession } from '../../server/sessions/sign-in.ts'
import type { User } from '../../server/users/directory.ts'
import { startLedger, testCaller, type TestLedger } from '../support/ledger.ts'

/** `OWN_HISTORY=100000` makes as many, for measurements by hand. */
const ended = Number(process.env.OWN_HISTORY ?? 3_000)
const open = 8

let ledger: TestLedger
let newcomer: User
let veteran: User
let asked: { query: string; params: unknown[] }[] = []
let database: Database

beforeAll(async () => {
  ledger = await startLedger()
  newcomer = await ledger.makeUser()
  veteran = await ledger.makeUser()
  await begin(newcomer, open)
  // Sessions of the veteran lie before and after the others, in the same month.
  await begin(veteran, open / 2)
  for (let i = 0; i < ended; i += 100) {
    await begin(veteran, 100)
    await ledger.owner.ownerSql`
      insert into token_ledger.token_event (family_id, seq, kind, generation, occurred_at, reason)
      select family_id, 2, 'revoked', 0, token_ledger.clock(), 'logout'
      from (
        select family_id
        from token_ledger.open_family
        where user_id = ${veteran.id}
        order by family_id
        offset ${open / 2}
      ) f`
  }
  await begin(veteran, open / 2)
  await ledger.owner.ownerSql`analyze`
  const sql = postgres(ledger.owner.url, {
    max: 2,
    connection: { role: 'token_ledger_app' },
    debug: (_connection, query, params) => asked.push({ query, params: [...params] }),
  })
  database = { ...ledger.database, transactions: sql, statements: sql, db: drizzle(sql) }
}, 600_000)

afterAll(async () => {
  await database.transactions.end()
  await ledger[Symbol.asyncDispose]()
})

async function begin(user: User, count: number): Promise<void> {
  await ledger.owner.ownerSql.begin(async (tx) => {
    await tx`
      create temporary table begun on commit drop as
      select
        (left(token_ledger.first_family_id(at)::text, 14) || '7' || right(md5(${user.id}::text || at || n)::uuid::text, 21))::uuid as id,
        at
      from generate_series(1, ${count}::int) n, lateral (select token_ledger.clock() as at where n > 0) t`
    await tx`
      insert into token_ledger.token_family (family_id, user_id, transport, created_at, absolute_expires_at)
      select id, ${user.id}::uuid, 'body', at, at + interval '30 days' from begun`
    await tx`
      insert into token_ledger.token_event
        (family_id, seq, kind, generation, occurred_at, expires_at, absolute_expires_at, user_id, transport, token_hash)
      select id, 1, 'issued', 0, at, at + interval '7 days', at + interval '30 days', ${user.id}::uuid, 'body', sha256('x')
      from begun`
  })
}

/** How many blocks the reading statements of `work` read, each asked again with its own parameters. */
async function blocksOf(work: () => Promise<unknown>): Promise<number> {
  asked = []
  await work()
  const reads = asked.filter(({ query }) => /^\s*select[^]*token_(ledger|audit)\b/.test(query))
  expect(reads.length).toBeGreaterThan(0)
  let blocks = 0
  for (const { query, params } of reads) {
    const [row] = await ledger.owner.ownerSql.unsafe(
      `explain (analyze, buffers, format json) ${query}`,
      params as never[],
    )
    const { Plan: plan } = row!['QUERY PLAN'][0]
    blocks += plan['Shared Hit Blocks'] + plan['Shared Read Blocks']
  }
  return blocks
}

const page = { limit: 50 }
const by = { reason: 'admin_revoked', actorUserId: null, caller: testCaller } as const
const signIn = async (user: User) =>
  startSession(
    { ...ledger.deps, sql: database.transactions },
    {
      user,
      epoch: await readEpoch(database, user.id),
      transport: 'body',
      deviceName: null,
      caller: testCaller,
      methods: ['pwd'],
    },
  )

test.each<[string, (user: User) => Promise<unknown>]>([
  ['the list of own sessions', (user) => listActiveSessions(database, { userId: user.id }, page)],
  [
    'a list of active sessions by address',
    (user) => listSessions(database, { email: user.email, status: 'active' }, page),
  ],
  ['a sign-in', signIn],
  [
    'the end of all sessions',
    (user) =>
      endAllSessions({ sql: database.transactions, logSecurityEvent: () => {} }, user.id, { by }),
  ],
])('%s costs what is open, however many sessions of the user have ended', async (_what, work) => {
  const few = await blocksOf(() => work(newcomer))
  const many = await blocksOf(() => work(veteran))
  expect(many, `blocks read: ${few} without a past, ${many} with it`).toBeLessThanOrEqual(1.5 * few)
  expect(few).toBeGreaterThan(0)
})

test('the list and the end of all sessions miss none', async () => {
  await signIn(veteran)
  await signIn(veteran)
  const listed = await listActiveSessions(database, { userId: veteran.id }, page)
  const active = await ledger.owner.ownerSql<{ family_id: string }[]>`
    select family_id from token_audit.sessions
    where user_id = ${veteran.id} and status = 'active'
    order by family_id desc`
  expect(listed.map(({ familyId }) => familyId)).toEqual(active.map((row) => row.family_id))
  expect(listed).toHaveLength(2)
  expect(await endAllSessions(ledger.deps, veteran.id, { by })).toBe(2)
  expect(await listActiveSessions(database, { userId: veteran.id }, page)).toEqual([])
})
