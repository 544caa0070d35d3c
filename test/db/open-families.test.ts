import type { Sql } from 'postgres'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { checkLedger } from '../../db/audit/check.ts'
import { listActiveSessions, verifyFamily } from '../../db/audit/sessions.ts'
import { sweepOpenFamilies } from '../../db/ledger/open-families.ts'
import { endAllSessions, endSession } from '../../server/sessions/revocation.ts'
import { moveClock } from '../support/clock.ts'
import { spentOnce, startLedger, tamper, testCaller, type TestLedger } from '../support/ledger.ts'

// token_ledger.open_family is an index of the ledger. A trigger keeps it; the events decide.

let ledger: TestLedger
let ownerSql: Sql
beforeAll(async () => {
  ledger = await startLedger()
  ownerSql = ledger.owner.ownerSql
})
afterAll(() => ledger[Symbol.asyncDispose]())

const hourMs = 3_600_000
const dayMs = 24 * hourMs
const by = { reason: 'logout', actorUserId: null, caller: testCaller } as const

async function openOf(userId: string): Promise<string[]> {
  const rows = await ownerSql<{ family_id: string }[]>`
    select family_id from token_ledger.open_family where user_id = ${userId} order by family_id`
  return rows.map((row) => row.family_id)
}

async function problems(): Promise<Record<string, string>> {
  const rows = await ownerSql<{ family_id: string; problem: string }[]>`
    select family_id, problem from token_audit.verify_ledger()`
  return Object.fromEntries(rows.map((row) => [row.family_id, row.problem]))
}

test('a sign-in adds the family, a rotation writes nothing, and the end removes it', async () => {
  const user = await ledger.makeUser()
  const session = await ledger.start(user)
  const { familyId } = session
  const rows = () => ownerSql`
    select ctid, xmin, user_id, family_id, absolute_expires_at
    from token_ledger.open_family where family_id = ${familyId}`
  const [row] = await rows()
  expect(row).toMatchObject({ user_id: user.id, family_id: familyId })
  await ledger.refresh(await ledger.refresh(session))
  expect([...(await rows())]).toEqual([row])
  await endSession(ledger.deps, { familyId }, by)
  expect(await openOf(user.id)).toEqual([])
})

test('a detected reuse removes the family', async () => {
  await using strict = await startLedger({ graceMs: 0 }, ledger)
  const spent = await spentOnce(strict)
  expect(await openOf(spent.user.id)).toEqual([spent.familyId])
  await expect(strict.refresh(spent)).rejects.toMatchObject({ reason: 'refresh_token_reused' })
  expect(await openOf(spent.user.id)).toEqual([])
})

test('a sign-in that is rolled back leaves nothing', async () => {
  const user = await ledger.makeUser()
  const before = await openOf(user.id)
  const failed = ledger.start(user, { epoch: 7 })
  await expect(failed).rejects.toMatchObject({ reason: 'session_revoked' })
  expect(await openOf(user.id)).toEqual(before)
})

test.each([
  'delete from token_ledger.open_family',
  'update token_ledger.open_family set user_id = family_id',
  'insert into token_ledger.open_family select * from token_ledger.open_family limit 1',
  'truncate token_ledger.open_family',
  'select token_ledger.rebuild_open_families()',
])('the service may only read it: %s', async (statement) => {
  await expect(ledger.database.statements.unsafe(statement)).rejects.toMatchObject({
    code: '42501',
  })
})

test('verification reports each difference, and a rebuild removes all of them', async () => {
  const user = await ledger.makeUser()
  const [kept, missing, over, moved] = [
    await ledger.start(user),
    await ledger.start(user),
    await ledger.start(user),
    await ledger.start(user),
  ]
  await endSession(ledger.deps, { familyId: over.familyId }, by)
  const unknown = '0199f6c0-0000-7000-8000-000000000001'
  const row = (familyId: string) => ownerSql`
    insert into token_ledger.open_family (family_id, user_id, absolute_expires_at)
    values (${familyId}, ${user.id}, now() + interval '1 day')`
  expect(await problems()).toEqual({})

  await ownerSql`delete from token_ledger.open_family where family_id = ${missing.familyId}`
  await row(over.familyId)
  await row(unknown)
  await ownerSql`
    update token_ledger.open_family set user_id = gen_random_uuid() where family_id = ${moved.familyId}`
  const found = {
    [missing.familyId]: 'it is active, but open_family lacks it',
    [over.familyId]: 'open_family has it, but it is over',
    [unknown]: 'open_family has it, the ledger does not',
    [moved.familyId]: 'its row in open_family differs',
  }
  expect(await problems()).toEqual(found)
  const { transactions } = ledger.database
  const { broken } = await checkLedger(transactions, () => {})
  expect(Object.fromEntries(broken.map((one) => [one.familyId, one.problem]))).toEqual(found)
  for (const { familyId } of [missing, over, moved])
    expect(await verifyFamily(ledger.database, familyId)).toMatchObject({
      intact: false,
      problem: found[familyId],
    })
  expect(await verifyFamily(ledger.database, kept.familyId)).toMatchObject({ intact: true })

  await ownerSql`select token_ledger.rebuild_open_families()`
  expect(await problems()).toEqual({})
  expect((await checkLedger(transactions, () => {})).broken).toEqual([])
  expect(await openOf(user.id)).toEqual([kept, missing, moved].map(({ familyId }) => familyId))
})

test('a family whose events are broken is reported for its events, once', async () => {
  const session = await ledger.start(await ledger.makeUser())
  const { familyId } = session
  await tamper(
    ledger.owner,
    `update token_ledger.token_event set user_agent = 'another' where family_id = '${familyId}'`,
  )
  await ownerSql`delete from token_ledger.open_family where family_id = ${familyId}`
  const reported = { [familyId]: 'ip or user_agent do not match their hash' }
  expect(await problems()).toEqual(reported)
  const { broken } = await checkLedger(ledger.database.transactions, () => {})
  expect(Object.fromEntries(broken.map((one) => [one.familyId, one.problem]))).toEqual(reported)
  await tamper(
    ledger.owner,
    `update token_ledger.token_event set user_agent = '${testCaller.userAgent}' where family_id = '${familyId}'`,
  )
  await ownerSql`select token_ledger.rebuild_open_families()`
  expect(await problems()).toEqual({})
})

test('a row that is left over brings no ended session back', async () => {
  const user = await ledger.makeUser()
  const session = await ledger.start(user)
  await endSession(ledger.deps, { familyId: session.familyId }, by)
  await ownerSql`
    insert into token_ledger.open_family (family_id, user_id, absolute_expires_at)
    values (${session.familyId}, ${user.id}, now() + interval '1 day')`
  expect(await listActiveSessions(ledger.database, { userId: user.id }, { limit: 10 })).toEqual([])
  await expect(ledger.refresh(session)).rejects.toMatchObject({ reason: 'session_revoked' })
  expect(await endAllSessions(ledger.deps, user.id, { by })).toBe(0)
  await ownerSql`select token_ledger.rebuild_open_families()`
})

test('processes that do not know the table keep it: it is written by the insert of an event', async () => {
  const user = await ledger.makeUser()
  const { familyId } = await ledger.start(user)
  await ledger.database.statements`
    insert into token_ledger.token_event (family_id, seq, kind, generation, occurred_at, reason)
    values (${familyId}, 2, 'revoked', 0, token_ledger.clock(), 'logout')`
  expect(await openOf(user.id)).toEqual([])
})

test('expired families leave an hour later: at the next sign-in of their user, or in the daily sweep', async () => {
  const [returning, gone] = [await ledger.makeUser(), await ledger.makeUser()]
  const [idle, left] = [await ledger.start(returning), await ledger.start(gone)]
  try {
    // Idle expiry is 7 days, absolute expiry 30.
    await moveClock(ownerSql, 7 * dayMs + hourMs / 2)
    const second = await ledger.start(returning)
    expect(await openOf(returning.id)).toEqual([idle.familyId, second.familyId])
    await moveClock(ownerSql, 7 * dayMs + 2 * hourMs)
    const third = await ledger.start(returning)
    expect(await openOf(returning.id)).toEqual([second.familyId, third.familyId])
    expect(await problems()).toEqual({})

    await moveClock(ownerSql, 30 * dayMs + hourMs / 2)
    await sweepOpenFamilies(ledger.database)
    expect(await openOf(gone.id)).toEqual([left.familyId])
    expect(await problems()).toEqual({})
    await moveClock(ownerSql, 30 * dayMs + 2 * hourMs)
    expect(await sweepOpenFamilies(ledger.database)).toBeGreaterThan(0)
    expect(await openOf(gone.id)).toEqual([])
    expect(await problems()).toEqual({})
  } finally {
    await moveClock(ownerSql, 0)
    await ownerSql`select token_ledger.rebuild_open_families()`
  }
})

test('a session that is in use after the clock was set back by less than an hour is in it', async () => {
  const user = await ledger.makeUser()
  const session = await ledger.start(user)
  try {
    await moveClock(ownerSql, 7 * dayMs + hourMs / 2)
    await ledger.start(user)
    await moveClock(ownerSql, 7 * dayMs - hourMs / 4)
    await ledger.refresh(session)
    expect(await openOf(user.id)).toContain(session.familyId)
  } finally {
    await moveClock(ownerSql, 0)
  }
})

/** The rows of the ledger, as a dump of the data has them. */
const tables = ['open_family', 'token_family', 'token_event'] as const

test.each([
  ['with triggers: the rows of open_family may come before or after the events', false],
  ['without triggers, as pg_restore --disable-triggers does', true],
])('a restored dump of the data keeps it right: %s', async (_how, isDisabled) => {
  await using copy = await startLedger()
  const user = await copy.makeUser()
  await copy.refresh(await copy.start(user))
  const { familyId } = await copy.start(user)
  await endSession(copy.deps, { familyId }, by)
  const { ownerSql: sql } = copy.owner
  for (const name of tables)
    await sql.unsafe(`create table public.dump_${name} as select * from token_ledger.${name}`)
  const empty = [...tables]
    .toReversed()
    .map((name) => `delete from token_ledger.${name}`)
    .join(';')
  await tamper(copy.owner, empty)
  const load = (name: string) =>
    `insert into token_ledger.${name} select * from public.dump_${name}${name === 'token_event' ? ' order by family_id, seq' : ''}`
  if (isDisabled) await tamper(copy.owner, tables.map(load).join(';'))
  else await sql.begin((tx) => tx.unsafe(tables.map(load).join(';')).simple())
  expect(await sql`select * from token_audit.verify_ledger()`).toEqual([])
  expect(await sql`select from token_ledger.open_family`).toHaveLength(1)
})

test('a restored dump that lacks the table, without triggers, is reported, and a rebuild mends it', async () => {
  await using copy = await startLedger()
  const { familyId } = await copy.start(await copy.makeUser())
  const { ownerSql: sql } = copy.owner
  await sql`delete from token_ledger.open_family`
  expect(await sql`select family_id from token_audit.verify_ledger()`).toEqual([
    { family_id: familyId },
  ])
  expect(await sql`select token_ledger.rebuild_open_families() as rows`).toEqual([{ rows: 1 }])
  expect(await sql`select * from token_audit.verify_ledger()`).toEqual([])
})
