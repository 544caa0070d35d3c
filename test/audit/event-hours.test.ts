import { afterAll, beforeAll, expect, test } from 'vitest'
import postgres from 'postgres'
import { createHourCounter } from '../../db/audit/event-hours.ts'
import { countEvents } from '../../db/audit/statistics.ts'
import { startLedger, type TestLedger } from '../support/ledger.ts'
import { waitFor } from '../support/wait.ts'

const hourMs = 3_600_000
/** The beginning of an hour; what is begun here lies before the present. */
const startAt = Math.floor(Date.now() / hourMs) * hourMs - 60 * hourMs

let ledger: TestLedger
beforeAll(async () => {
  ledger = await startLedger()
})
afterAll(() => ledger[Symbol.asyncDispose]())

/** A family that begins here, and is rotated each ten minutes and then revoked. */
async function begin(beganAt: number, rotations: number): Promise<void> {
  await ledger.owner.ownerSql.begin(async (tx) => {
    const at = new Date(beganAt).toISOString()
    const [{ id }] = (await tx`
      select (left(token_ledger.first_family_id(${at}::timestamptz)::text, 14) || '7'
        || right(gen_random_uuid()::text, 21))::uuid as id`) as any
    const until = tx`${at}::timestamptz + interval '20 days'`
    await tx`
      insert into token_ledger.token_family (family_id, user_id, transport, created_at, absolute_expires_at)
      values (${id}, ${id}, 'body', ${at}, ${until})`
    await tx`
      insert into token_ledger.token_event
        (family_id, seq, kind, generation, occurred_at, expires_at, absolute_expires_at, user_id, transport, token_hash)
      values (${id}, 1, 'issued', 0, ${at}, ${until}, ${until}, ${id}, 'body', sha256('x'))`
    await tx`
      insert into token_ledger.token_event
        (family_id, seq, kind, generation, occurred_at, expires_at, absolute_expires_at, token_hash, salt)
      select
        ${id}, n + 1, 'rotated', n, ${at}::timestamptz + n * interval '10 minutes', ${until}, ${until}, sha256('y'),
        decode(repeat('00', 16), 'hex')
      from generate_series(1, ${rotations}::int) n`
    await tx`
      insert into token_ledger.token_event (family_id, seq, kind, generation, occurred_at, reason)
      select ${id}, ${rotations + 2}, 'revoked', ${rotations},
        ${at}::timestamptz + ${rotations}::int * interval '10 minutes', 'logout'`
  })
}

const database = () => ledger.database.questions

const minuteMs = 60_000

/** A transaction of any database of the cluster may hold events back. */
async function countUntil(at: number): Promise<void> {
  await waitFor(async () => {
    await countAll()
    return (await countedTo()) >= at
  })
  expect(await countedTo()).toBe(at)
}

async function countAll(): Promise<void> {
  const countNext = createHourCounter(database())
  while (await countNext());
}

async function countedTo(): Promise<number> {
  const [row] = await ledger.owner.ownerSql<{ at: number }[]>`
    select extract(epoch from max(counted_to))::float8 * 1000 as at from token_ledger.event_hour`
  return row!.at
}

/** Hours whose count is not that of their events. */
async function wrongHours() {
  return ledger.owner.ownerSql`
    select hour_at
    from token_ledger.event_hour
    join lateral (
      select
        count(*) filter (where kind = 'issued') as issued,
        count(*) filter (where kind = 'rotated') as rotated,
        count(*) filter (where kind = 'revoked') as revoked
      from token_ledger.token_event
      where occurred_at >= hour_at and occurred_at < counted_to
    ) e on (e.issued, e.rotated, e.revoked)
      is distinct from (event_hour.issued, event_hour.rotated, event_hour.revoked)`
}

/** Charts of every kind: whole hours and parts of them, in hours and days. */
async function charts() {
  const part = 17 * 60_000
  const periods = [
    { fromAt: startAt - 10 * hourMs, toAt: startAt + 61 * hourMs },
    { fromAt: startAt + part, toAt: startAt + 40 * hourMs + part },
    { fromAt: startAt + part, toAt: startAt + 2 * part },
    { fromAt: startAt + part, toAt: startAt + hourMs + part },
  ]
  const asked = periods.flatMap((period) =>
    [60_000, hourMs, 24 * hourMs].map((step) => countEvents(database(), period, step)),
  )
  return Promise.all(asked)
}

test('hours are counted once and without gaps, the running one up to its last minutes, and change no chart', async () => {
  for (const [hour, rotations] of [
    [0, 3],
    [1, 12],
    [7, 0],
    [30, 20],
  ] as const)
    await begin(startAt + hour * hourMs + 5 * minuteMs, rotations)
  await begin(startAt + 50 * hourMs, 1)
  const before = await charts()
  // The newest event is ten minutes into the 51st hour.
  await countUntil(startAt + 50 * hourMs + 5 * minuteMs)
  expect(await charts()).toEqual(before)
  expect(await wrongHours()).toEqual([])
})

test('events are counted when every transaction that may add one to them is over', async () => {
  const holder = await ledger.owner.ownerSql.reserve()
  await holder`begin`
  await holder`select pg_current_xact_id()`
  const before = await countedTo()
  await begin(startAt + 55 * hourMs, 1)
  await countAll()
  expect(await countedTo()).toBe(before)
  await holder`rollback`
  holder.release()
  await countUntil(startAt + 55 * hourMs + 5 * minuteMs)
})

test('an hour that takes too long to count is counted in parts, and the hours after it go on', async () => {
  const { url, ownerSql } = ledger.owner
  await begin(startAt + 56 * hourMs + minuteMs, 5)
  const before = await charts()
  await ownerSql`alter function token_ledger.count_hours(interval) rename to count_hours_fast`
  await ownerSql`
    create function token_ledger.count_hours(longest interval) returns integer language sql
    begin atomic
      select pg_sleep(extract(epoch from longest) / 9000);
      select token_ledger.count_hours_fast(longest);
    end`
  const slow = postgres(url, { max: 1, connection: { statement_timeout: 150 }, onnotice: () => {} })
  const countNext = createHourCounter({ statements: slow })
  while (await countNext());
  await slow.end()
  expect(await countedTo()).toBe(startAt + 56 * hourMs + 46 * minuteMs)
  expect(await wrongHours()).toEqual([])
  expect(await charts()).toEqual(before)
})

test('a chart of hours that were counted reads no event of them', async () => {
  const { ownerSql } = ledger.owner
  const [chart] = await countEvents(
    database(),
    { fromAt: startAt, toAt: startAt + 24 * hourMs },
    24 * hourMs,
  )
  await ownerSql`update token_ledger.event_hour set rotated = rotated + 1000 where hour_at = ${new Date(startAt).toISOString()}`
  const [other] = await countEvents(
    database(),
    { fromAt: startAt, toAt: startAt + 24 * hourMs },
    24 * hourMs,
  )
  expect(other!.rotated - chart!.rotated).toBe(1_000)
})

test('the service counts hours, and cannot write what it counted', async () => {
  const { statements } = ledger.database
  await expect(statements`update token_ledger.event_hour set rotated = 0`).rejects.toThrow(
    /permission denied/,
  )
})
