import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { eventHash } from '../../server/ledger/chain.ts'
import type { EventRecord, LedgerRecord } from '../../server/ledger/record.ts'
import { blocksOf, codeIn, readPage, readPages, rowsOf, sectionOf } from './pages.ts'

const page = readPage('docs/reference/events.md')
const section = sectionOf(page, 'The hash, version 1')
const golden = readFileSync('test/audit/golden-chain-v1.jsonl', 'utf8')
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

test('the program in docs/reference/events.md finds every event that was changed, and no other', () => {
  const program = blocksOf(page).find(({ language }) => language === 'python')
  const run = (input: string) =>
    spawnSync('python3', ['-c', program!.text], { input, encoding: 'utf8' })
  const { error, status, stdout, stderr } = run(golden)
  if (error !== undefined && process.env.CI !== 'true') {
    console.warn('\n*** SKIPPED: no python3 to run the program of docs/reference/events.md ***\n')
    return
  }
  expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '', stderr: '' })
  const changed = records.map((record) =>
    JSON.stringify(
      record.record === 'event' ? { ...record, generation: record.generation + 1 } : record,
    ),
  )
  const found = events.map(({ familyId, seq }) => `${familyId} ${seq}\n`)
  expect(run(changed.join('\n')).stdout).toBe(found.join(''))
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
