import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { createHashSet } from '../../server/evidence/hash-set.ts'
import { longTest } from '../support/long.ts'

const hash = (text: string) => createHash('sha256').update(text).digest()

test('a set of hashes has those that were added, once each, and no other', () => {
  const set = createHashSet()
  for (let i = 0; i < 2_000; i++) set.add(hash(String(i % 1_000)))
  expect(set.size()).toBe(1_000)
  for (let i = 0; i < 1_000; i++) expect(set.has(hash(String(i)))).toBe(true)
  const other = hash('0')
  other[31]! ^= 1
  expect(set.has(other)).toBe(false)
  expect(set.has(Buffer.from('0'))).toBe(false)
})

longTest(
  'a log of 17 million leaves fits, which are more than a Set holds',
  { timeout: 300_000 },
  () => {
    const set = createHashSet()
    const value = Buffer.alloc(32)
    for (let i = 0; i < 17_000_000; i++) {
      value.writeUInt32BE(Math.imul(i, 0x9e3779b1) >>> 0)
      set.add(value)
    }
    expect(set.size()).toBe(17_000_000)
  },
)
