import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { createEndedSet, maxEndedSessions } from '../../server/verifier/revocations/ended-set.ts'
import { maxRows } from '../../server/verifier/revocations/ended-table.ts'
import { createIdFilter } from '../../server/verifier/revocations/id-filter.ts'
import {
  formatSessionId,
  parseSessionId,
  type SessionId,
} from '../../server/verifier/revocations/session-id.ts'

const hour = 3_600_000

function randomId(): string {
  const hex = randomBytes(16).toString('hex')
  return hex.replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12})$/, '$1-$2-7$3-8$4-$5')
}

const randomIds = (count: number) => Array.from({ length: count }, randomId)
const endedAt = Date.UTC(2026, 0, 1)
const asEnded = (ids: readonly string[]) => ids.map((familyId) => ({ familyId, endedAt }))

test('the id of a session is 16 bytes, and comes back as it was', () => {
  for (const id of [...randomIds(1_000), '00000000-0000-0000-0000-00000000000f'])
    expect(formatSessionId(parseSessionId(id) as SessionId)).toBe(id)
  const id = randomId()
  expect(parseSessionId(id.toUpperCase())).toEqual(parseSessionId(id))
  for (const text of ['', 'x', id.slice(1), `${id}0`, id.replace('-', '0'), `${id}\n`])
    expect(parseSessionId(text)).toBeNull()
})

test('ids that differ in one bit are different sessions, also where they share a slot', () => {
  const ids = Array.from({ length: 128 }, (_, bit) => {
    const bytes = Buffer.alloc(16)
    bytes[bit >> 3] = 1 << (bit & 7)
    return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
  })
  for (const [i, id] of ids.entries()) {
    const set = createEndedSet(hour, 1_000)
    set.add(asEnded([id]))
    expect(ids.map((one) => set.find(one))).toEqual(ids.map((_, j) => (i === j ? 'ended' : 'no')))
  }
})

test('more ends than 100,000 are all known, in their order, and nothing else is', () => {
  const set = createEndedSet(hour, maxEndedSessions)
  // More than one table holds.
  const ids = randomIds(2 * maxRows + 7)
  set.add(asEnded(ids))
  set.add(asEnded(ids.slice(0, 100)))
  expect([set.size, set.isComplete()]).toEqual([ids.length, true])
  expect(ids.filter((id) => set.find(id) !== 'ended')).toEqual([])
  expect(randomIds(10_000).filter((id) => set.find(id) !== 'no')).toEqual([])

  const read: string[] = []
  for (let position = 0; ;) {
    const page = set.after(position, 50_000)
    if (page.ended.length === 0) break
    read.push(...page.ended.map(({ familyId }) => familyId))
    position = page.position
  }
  expect(read).toEqual(ids)
  expect(set.after(maxRows, 1).ended).toEqual(asEnded([ids[maxRows]!]))
})

test('beyond its capacity a set knows which sessions it may have lost, and stays sure of the others', () => {
  const set = createEndedSet(hour, 1_000)
  const [held, lost] = [randomIds(1_000), randomIds(5_000)]
  set.add(asEnded([...held, ...lost]))
  expect([set.size, set.isComplete()]).toEqual([1_000, false])
  expect(held.filter((id) => set.find(id) !== 'ended')).toEqual([])
  expect(lost.filter((id) => set.find(id) !== 'perhaps')).toEqual([])
  expect(randomIds(10_000).filter((id) => set.find(id) !== 'no').length).toBeLessThan(10)
})

test('a filter of millions takes few other sessions for one of them', () => {
  const filter = createIdFilter()
  const word = () => Math.floor(Math.random() * 2 ** 32)
  const id = (): SessionId => [0x0199f6c0, word(), (word() >>> 2) + 2 ** 31, word()]
  for (let i = 0; i < 2_000_000; i++) filter.add(id())
  let taken = 0
  for (let i = 0; i < 100_000; i++) if (filter.mayHave(id())) taken += 1
  // One bit in 17 is set, and four must be: one of 88,000.
  expect(taken).toBeLessThan(30)
})

test('ends are forgotten after their time, and a set that was full is complete again', async () => {
  const set = createEndedSet(300, 2)
  const [a, b, c, d] = randomIds(4) as [string, string, string, string]
  set.add(asEnded([a, b]))
  expect(set.isComplete()).toBe(true)
  expect(set.after(0, 10)).toEqual({ ended: asEnded([a, b]), position: 2 })
  set.add(asEnded([a]))
  expect(set.isComplete()).toBe(true)
  set.add(asEnded([c]))
  expect(set.isComplete()).toBe(false)
  expect([a, b, c].map((id) => set.find(id))).toEqual(['ended', 'ended', 'perhaps'])
  await expect.poll(() => set.isComplete()).toBe(true)
  set.add(asEnded([d]))
  expect([a, b, c, d].map((id) => set.find(id))).toEqual(['no', 'no', 'no', 'ended'])
  expect(set.size).toBe(1)
  // Positions go on counting: a reader gets neither what came before nor misses what came after.
  expect(set.after(2, 10)).toEqual({ ended: asEnded([d]), position: 3 })
  expect(set.after(1, 10)).toEqual({ ended: asEnded([d]), position: 3 })
  expect(set.after(3, 10)).toEqual({ ended: [], position: 3 })
})

test('an end of the future, by a clock that was put right, is kept until the tokens of that time have expired', async () => {
  let now = endedAt
  const set = createEndedSet(300, 1_000, () => now)
  const [early, late] = randomIds(2) as [string, string]
  set.add([
    { familyId: early, endedAt },
    { familyId: late, endedAt: endedAt + 2_000 },
  ])
  const { position } = set.after(0, 10)
  const pass = async (ms: number) => {
    await new Promise((resolve) => setTimeout(resolve, 350))
    now += ms
    set.add([])
  }
  await pass(2_000)
  expect([set.find(early), set.find(late), set.size]).toEqual(['no', 'ended', 1])
  // Followers that have read everything get it again, because they forget as well.
  expect(set.after(position, 10).ended).toEqual([{ familyId: late, endedAt: endedAt + 2_000 }])
  await pass(301)
  expect([set.find(late), set.size]).toEqual(['no', 0])
})
