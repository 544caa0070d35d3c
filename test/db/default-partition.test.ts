import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ensurePartitions } from '../../db/ledger/partitions.ts'
import { archiveLedger } from '../../server/audit/archive.ts'
import { moveClock, stopClock } from '../support/clock.ts'
import { startLedger, type TestLedger } from '../support/ledger.ts'
import { sqlStateOf } from '../support/ledger-rows.ts'

const dayMs = 24 * 3_600_000

/** The month that is `ahead` months from now, as partitions are named. */
function monthAhead(ahead: number): string {
  const now = new Date()
  const month = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + ahead))
  return month.toISOString().slice(0, 7).replace('-', '')
}

/** The tenth day of that month. */
function atMonthAhead(ahead: number): number {
  const now = new Date()
  return Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + ahead, 10)
}

async function signInAt(ledger: TestLedger, at: number) {
  await stopClock(ledger.owner.ownerSql, at)
  const session = await ledger.start(await ledger.makeUser())
  await ledger.refresh(session)
  await moveClock(ledger.owner.ownerSql, 0)
  return session
}

async function ensure({ owner }: TestLedger, months: number): Promise<number> {
  const [row] = await owner.ownerSql`select token_ledger.ensure_partitions(${months}) as made`
  return row!.made
}

/** Every row of both tables, byte for byte, with the partition that holds it. */
async function rowsOf({ owner }: TestLedger) {
  const families = await owner.ownerSql`
    select tableoid::regclass::text as part, f::text as row from token_ledger.token_family f order by family_id`
  const events = await owner.ownerSql`
    select tableoid::regclass::text as part, e::text as row from token_ledger.token_event e
    order by family_id, seq`
  return [...families, ...events].map(({ part, row }) => ({ part: String(part), row: String(row) }))
}

const verify = async ({ owner }: TestLedger) => [
  ...(await owner.ownerSql`select * from token_audit.verify_ledger()`),
]

test('a sign-in under a clock five months ahead keeps no month from being made, before or after its own', async () => {
  await using ledger = await startLedger()
  await signInAt(ledger, atMonthAhead(5))
  await ensure(ledger, 8)
  const parts = await ledger.owner.ownerSql<{ name: string }[]>`
    select c.relname as name from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'token_ledger.token_event'::regclass order by 1`
  const wanted = [0, 1, 2, 3, 4, 5, 6, 7, 8].map((ahead) => `token_event_${monthAhead(ahead)}`)
  expect(parts.map(({ name }) => name)).toEqual([...wanted, 'token_event_default'])
})

test('rows of the default partition move to their month when it is made, byte for byte, and others stay', async () => {
  await using ledger = await startLedger()
  await signInAt(ledger, atMonthAhead(5))
  await signInAt(ledger, atMonthAhead(7))
  const before = await rowsOf(ledger)
  expect(before.every(({ part }) => part.endsWith('_default'))).toBe(true)
  expect(await ensure(ledger, 6)).toBe(6)
  const after = await rowsOf(ledger)
  expect(after.map(({ row }) => row)).toEqual(before.map(({ row }) => row))
  expect([...new Set(after.map(({ part }) => part))]).toEqual([
    `token_ledger.token_family_${monthAhead(5)}`,
    'token_ledger.token_family_default',
    `token_ledger.token_event_${monthAhead(5)}`,
    'token_ledger.token_event_default',
  ])
  expect(await verify(ledger)).toEqual([])
})

test('after the move the guards stand, on the month and on the default partition', async () => {
  await using ledger = await startLedger()
  await signInAt(ledger, atMonthAhead(5))
  await signInAt(ledger, atMonthAhead(7))
  await ensure(ledger, 6)
  const { ownerSql } = ledger.owner
  const guards = await ownerSql<{ part: string; triggers: string[] }[]>`
    select c.relname as part, array_agg(concat(t.tgname, ' ', t.tgenabled) order by t.tgname) as triggers
    from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_inherits i on i.inhrelid = c.oid
    where not t.tgisinternal
    group by c.relname`
  const triggersOf = (name: string) => guards.find(({ part }) => part === name)?.triggers
  for (const table of ['token_family', 'token_event']) {
    const untouched = triggersOf(`${table}_${monthAhead(0)}`)
    expect(untouched).toContain('refuse_truncate A')
    for (const suffix of [monthAhead(5), 'default']) {
      expect(triggersOf(`${table}_${suffix}`)).toEqual(untouched)
      for (const change of ['delete from', 'truncate'])
        expect(await sqlStateOf(ownerSql.unsafe(`${change} token_ledger.${table}_${suffix}`))).toBe(
          'TL001',
        )
    }
  }
})

test('a refresh that waits for the move goes on, and so does the session afterwards', async () => {
  await using ledger = await startLedger()
  const { ownerSql } = ledger.owner
  await stopClock(ownerSql, atMonthAhead(5))
  const session = await ledger.start(await ledger.makeUser())
  const moving = await ownerSql.reserve()
  await moving`begin`
  await moving`select token_ledger.ensure_partitions(6)`
  const waiting = ledger.refresh(session)
  await expect
    .poll(async () => (await ownerSql`select from pg_locks where not granted`).length)
    .toBeGreaterThan(0)
  await moving`commit`
  moving.release()
  const refreshed = await waiting
  await ledger.refresh({ ...session, token: refreshed.token })
  expect(await verify(ledger)).toEqual([])
})

test('a month that cannot be made keeps no other from being made, and the caller gets its problem', async () => {
  await using ledger = await startLedger()
  const { ownerSql } = ledger.owner
  const month = monthAhead(5)
  // Its range overlaps, as with a partition that an owner made by hand.
  await ownerSql.unsafe(`
    create table token_ledger.by_hand partition of token_ledger.token_event
    for values from ('${await firstId(ledger, 5)}') to ('${await firstId(ledger, 6)}')`)
  expect(await ensure(ledger, 6)).toBe(4)
  await expect(ensure(ledger, 6)).rejects.toThrow('would overlap partition "by_hand"')
  const [made] =
    await ownerSql`select to_regclass(${`token_ledger.token_event_${monthAhead(6)}`}) as name`
  expect(made!.name).toBe(`token_ledger.token_event_${monthAhead(6)}`)
  const [half] = await ownerSql`select to_regclass(${`token_ledger.token_family_${month}`}) as name`
  expect(half!.name).toBeNull()
})

test('the service reports a month that it cannot make, and makes the others', async () => {
  await using ledger = await startLedger()
  const { ownerSql } = ledger.owner
  await ownerSql.unsafe(
    [2, 3]
      .map(
        (n) =>
          `drop table token_ledger.token_event_${monthAhead(n)}, token_ledger.token_family_${monthAhead(n)};`,
      )
      .join(''),
  )
  await ownerSql.unsafe(`
    create table token_ledger.by_hand partition of token_ledger.token_event
    for values from ('${await firstId(ledger, 2)}') to ('${await firstId(ledger, 3)}')`)
  await expect(ensurePartitions(ledger.database)).rejects.toThrow('by_hand')
  const [made] =
    await ownerSql`select to_regclass(${`token_ledger.token_event_${monthAhead(3)}`}) as name`
  expect(made!.name).not.toBeNull()
})

test('a month of which the default partition has too many rows is left to the owner', async () => {
  await using ledger = await startLedger()
  const { ownerSql } = ledger.owner
  await signInAt(ledger, atMonthAhead(5))
  const begins = new Date(atMonthAhead(5) - 9 * dayMs).toISOString()
  const bounded = ownerSql`select token_ledger.make_month(${begins}::timestamptz, 1)`
  const day = begins.slice(0, 10)
  await expect(bounded).rejects.toMatchObject({
    code: '54000',
    message:
      `token_event_default has more than 1 rows of ${monthAhead(5)}: the owner can move them with ` +
      `select token_ledger.make_month('${day}Z')`,
  })
  const [moved] = await ownerSql.unsafe(`select token_ledger.make_month('${day}Z') as made`)
  expect(moved).toEqual({ made: 2 })
})

test('archive takes sessions of closed months out of the default partition, and leaves those of the future', async () => {
  await using ledger = await startLedger()
  const file = join(mkdtempSync(join(tmpdir(), 'token-ledger-default-')), 'archive.jsonl')
  await signInAt(ledger, atMonthAhead(-14))
  await signInAt(ledger, atMonthAhead(-16))
  await signInAt(ledger, atMonthAhead(5))
  await ledger.start(await ledger.makeUser())
  const archived = await archiveLedger(ledger.owner.ownerSql, {
    beforeAt: Date.now() - 30 * dayMs,
    file,
  })
  expect(archived).toMatchObject({
    months: [monthAhead(-16), monthAhead(-14)],
    families: 2,
    events: 4,
  })
  expect(await ledger.owner.ownerSql`select from token_ledger.token_family`).toHaveLength(2)
  expect(await verify(ledger)).toEqual([])
})

async function firstId({ owner }: TestLedger, ahead: number): Promise<string> {
  const begins = new Date(atMonthAhead(ahead) - 9 * dayMs).toISOString()
  const [row] = await owner.ownerSql`
    select token_ledger.first_family_id(${begins}::timestamptz) as id`
  return row!.id
}
