import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { eventHash, originHash } from '../../server/ledger/chain.ts'
import { eventKinds } from '../../server/ledger/events.ts'
import type { EventRecord, FamilyRecord, LedgerRecord } from '../../server/ledger/record.ts'
import { verifyExport } from '../../server/audit/verify-export.ts'
import { freshDatabase } from '../support/database.ts'
import { tamper } from '../support/ledger.ts'

/** Written once by the database. If a line of one no longer verifies, neither does any existing export. */
const golden = [1, 2].map((version) => {
  const file = new URL(`golden-chain-v${version}.jsonl`, import.meta.url)
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n')
  const records = lines.map((line) => JSON.parse(line) as LedgerRecord)
  const events = records.filter((r): r is EventRecord => r.record === 'event')
  const families = records.filter((r): r is FamilyRecord => r.record === 'family')
  return { version, lines, events, families }
})
const [first, second] = golden as [(typeof golden)[0], (typeof golden)[0]]

test('the golden export of version 1 holds every kind of event of its time, an erased user, IPv6 and control characters', () => {
  expect(new Set(first.events.map(({ kind }) => kind)).size).toBe(5)
  expect(first.events.some(({ originSalt }) => originSalt === null)).toBe(true)
  expect(first.events.some(({ ip }) => ip === '2001:db8::7')).toBe(true)
})

test('the golden export of version 2 holds every kind of event, and sign-ins and rotations with and without methods', () => {
  expect(new Set(second.events.map(({ kind }) => kind))).toEqual(new Set(eventKinds))
  for (const made of ['issued', 'rotated']) {
    const events = second.events.filter(({ kind }) => kind === made)
    expect(new Set(events.map(({ methods }) => methods === null))).toEqual(new Set([true, false]))
  }
})

test.each(golden)(
  'LE-09: TypeScript computes the golden hashes of version $version',
  async ({ lines, events, families }) => {
    expect(events.map(eventHash)).toEqual(events.map(({ hash }) => hash))
    const kept = events.filter(({ originSalt }) => originSalt !== null)
    expect(kept.map(originHash)).toEqual(kept.map((event) => event.originHash))
    expect(await verifyExport(lines)).toEqual({
      families: families.length,
      events: events.length,
      problems: [],
    })
  },
)

test.each(golden)(
  'LE-09: SQL computes the golden hashes of version $version',
  async ({ events, families }) => {
    await using owner = await freshDatabase()
    const { ownerSql } = owner
    await ownerSql`
    create table public.golden as
    select ${JSON.stringify(families.map(toRow))}::text::jsonb as families,
      ${JSON.stringify(events.map(toRow))}::text::jsonb as events`
    await tamper(
      owner,
      `insert into token_ledger.token_family
     select (jsonb_populate_record(null::token_ledger.token_family, f || '{"lock_mark": 0}')).*
     from public.golden, jsonb_array_elements(families) f;
     insert into token_ledger.token_event
     select (jsonb_populate_record(null::token_ledger.token_event, e)).*
     from public.golden, jsonb_array_elements(events) e`,
    )
    const computed = await ownerSql<{ hash: string; again: string }[]>`
    select encode(hash, 'hex') as hash, encode(token_ledger.event_hash(e), 'hex') as again
    from token_ledger.token_event e order by family_id, seq`
    expect(computed.map(({ again }) => again)).toEqual(events.map(({ hash }) => hash))
    expect(await ownerSql`select * from token_audit.verify_ledger()`).toEqual([])
    const asLatin = await ownerSql.begin(async (tx) => {
      await tx`set local client_encoding = 'LATIN1'`
      return tx`select * from token_audit.verify_ledger()`
    })
    expect(asLatin, 'to a client of another encoding').toEqual([])
  },
)

test('the query planner inlines the hash functions', async () => {
  await using database = await freshDatabase()
  const plan = await database.ownerSql`
    explain (verbose) select
      token_ledger.event_hash(e), token_ledger.origin_hash(e.origin_salt, e.ip, e.user_agent)
    from token_ledger.token_event e`
  expect(JSON.stringify(plan)).toContain('sha256(')
  expect(JSON.stringify(plan)).not.toMatch(/(event|origin)_hash\(/)
})

test('LE-10: events whose neighbouring fields concatenate to the same text have different hashes', () => {
  const [event] = first.events
  const one = { ...event!, reason: 'ab', transport: 'c' }
  const other = { ...event!, reason: 'a', transport: 'cb' }
  expect(eventHash(one)).not.toBe(eventHash(other))
  expect(eventHash({ ...event!, methods: ['a', 'b'] })).not.toBe(
    eventHash({ ...event!, methods: ['ab'] }),
  )
  expect(eventHash({ ...event!, reason: '' })).not.toBe(eventHash({ ...event!, reason: null }))
})

/** In the form that `jsonb_populate_record` takes. */
function toRow(record: object): object {
  return Object.fromEntries(
    Object.entries(record).map(([name, value]) => [
      name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      /hash|salt/i.test(name) && value !== null ? `\\x${value}` : value,
    ]),
  )
}
