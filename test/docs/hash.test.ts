import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { verifyExport } from '../../server/audit/verify-export.ts'
import { eventHash } from '../../server/ledger/chain.ts'
import type { EventRecord, LedgerRecord } from '../../server/ledger/record.ts'
import { endSession } from '../../server/sessions/revocation.ts'
import { exportLines, startLedger, testCaller } from '../support/ledger.ts'
import { blocksOf, codeIn, readPage, readPages, rowsOf, sectionOf } from './pages.ts'

const page = readPage('docs/reference/events.md')
const section = sectionOf(page, 'The hash, version 1')
const golden = readFileSync('test/audit/golden-chain-v1.jsonl', 'utf8')
const second = readFileSync('test/audit/golden-chain-v2.jsonl', 'utf8')
const records = golden
  .trimEnd()
  .split('\n')
  .map((line) => JSON.parse(line) as LedgerRecord)
const events = records.filter((record): record is EventRecord => record.record === 'event')
/** The second event of the file. */
const example = events[1]!

test('the bytes that docs/reference/events.md lists hash to the hash it names', () => {
  const rows = rowsOf(section)
  const names = rows.map(([name = '']) => codeIn(name)[0])
  expect(names.join(' ')).toBe(
    'token-ledger/v1 family_id seq prev_hash kind generation occurred_at expires_at absolute_expires_at user_id ' +
      'transport token_hash salt attempt_hash presented_generation reason actor_user_id origin_hash',
  )
  const bytes = Buffer.from(rows.map(([, , hex = '']) => codeIn(hex)[0]).join(''), 'hex')
  const [, count, hash] = /SHA-256 of these (\d+) bytes is `([0-9a-f]{64})`/.exec(section)!
  expect(bytes).toHaveLength(Number(count))
  expect(createHash('sha256').update(bytes).digest('hex')).toBe(hash)
  expect([example.hash, eventHash(example)]).toEqual([hash, hash])
})

/** What the program of the page prints; null without python3, which only CI has to have. */
function printedFor(input: string): string | null {
  const program = blocksOf(page).find(({ language }) => language === 'python')
  const { error, status, stdout, stderr } = spawnSync('python3', ['-c', program!.text], {
    input,
    encoding: 'utf8',
  })
  if (error !== undefined && process.env.CI !== 'true') {
    console.warn('\n*** SKIPPED: no python3 to run the program of docs/reference/events.md ***\n')
    return null
  }
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  return stdout
}

test('the program in docs/reference/events.md finds every event that was changed, and no other', () => {
  const printed = printedFor(golden)
  if (printed === null) return
  expect([printed, printedFor(second)]).toEqual(['', ''])
  const other = second.replaceAll('["pwd"]', '["otp"]')
  expect(printedFor(other)).toMatch(/^[0-9a-f-]{36} 1\n$/)
  const changed = records.map((record) =>
    JSON.stringify(
      record.record === 'event' ? { ...record, generation: record.generation + 1 } : record,
    ),
  )
  const found = events.map(({ familyId, seq }) => `${familyId} ${seq}\n`)
  expect(printedFor(changed.join('\n'))).toBe(found.join(''))
})

test('what a batch of refreshes and an act of one family write verifies by SQL, by TypeScript and by the program of the page', async () => {
  await using ledger = await startLedger()
  const user = await ledger.makeUser()
  const sessions = await Promise.all(Array.from({ length: 8 }, () => ledger.start(user)))
  const rotated = await Promise.all(sessions.map((session) => ledger.refresh(session)))
  await Promise.all(sessions.slice(0, 4).map((session) => ledger.refresh(session)))
  await Promise.all(rotated.map((session) => ledger.refresh(session)))
  await endSession(ledger.deps, sessions[0]!, {
    reason: 'logout',
    actorUserId: user.id,
    caller: testCaller,
  })

  expect(await ledger.owner.ownerSql`select * from token_audit.verify_ledger()`).toEqual([])
  const lines = await exportLines(ledger.database)
  expect(await verifyExport(lines)).toEqual({ families: 8, events: 29, problems: [] })
  expect(['', null]).toContain(printedFor(lines.join('\n')))
})

test('every Python block is run: here, or by test/verifier/python.test.ts', () => {
  const blocks = readPages()
    .flatMap(blocksOf)
    .filter(({ language }) => language === 'python')
  expect(new Set(blocks.map((block) => block.page))).toEqual(
    new Set(['docs/guides/services.md', 'docs/reference/events.md']),
  )
  expect(blocks).toHaveLength(2)
})
