import { createHash } from 'node:crypto'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { decideRotation } from '../../server/ledger/decide.ts'
import type { LedgerEvent } from '../../server/ledger/events.ts'
import { foldFamily } from '../../server/ledger/family.ts'
import { issued, present } from '../support/family-events.ts'
import {
  begin,
  daysWithThief,
  expectHonestPairUnharmed,
  expectThiefFound,
  honestDays,
  type World,
} from '../support/theft.ts'

const numRuns = 3_000

test('the rules never detect reuse by an honest pair with a bad line, nor sign it out (docs/reference/rotation.md, rules 5 and 6)', async () => {
  let rotations = 0
  await fc.assert(
    fc.asyncProperty(honestDays, async (days) => {
      const world = newWorld()
      await expectHonestPairUnharmed(world, days)
      rotations += world.law.current
    }),
    { numRuns },
  )
  // They went somewhere.
  expect(rotations).toBeGreaterThan(2 * numRuns)
}, 120_000)

test.each(['owner', 'thief'] as const)(
  'a thief who was let in is found within one more rotation, when the %s goes on (RFC 9700 §4.14.2)',
  async (whoGoesOn) => {
    const ends = { foundBefore: 0, foundAtLast: 0 }
    await fc.assert(
      fc.asyncProperty(daysWithThief, async (days) => {
        const world = newWorld()
        if (await expectThiefFound(world, days, whoGoesOn)) ends.foundAtLast++
        else if (world.law.isOver) ends.foundBefore++
      }),
      { numRuns },
    )
    expect(ends.foundBefore).toBeGreaterThan(numRuns / 10)
    expect(ends.foundAtLast).toBeGreaterThan(numRuns / 10)
  },
  120_000,
)

/** The rules alone, on a history in memory. */
function newWorld(): World {
  const first = { generation: 0, value: 'secret 0' }
  const events: LedgerEvent[] = [issued({ tokenHash: hash(first.value) })]
  const secrets = [first.value]
  let now = 0
  const service = {
    async present({ generation, value }: typeof first, attemptId: string | null) {
      const family = foldFamily(events)
      const made = events.find(
        (event) =>
          (event.kind === 'issued' || event.kind === 'rotated') && event.generation === generation,
      )
      const secret = `secret ${secrets.length}`
      const { event, refusal } = decideRotation(
        family,
        present(generation, now, {
          isIssued: made !== undefined && 'tokenHash' in made && hash(value).equals(made.tokenHash),
          attemptHash: attemptId === null ? null : hash(attemptId),
          next: { tokenHash: hash(secret), salt: new Uint8Array(16) },
        }),
      )
      if (event !== null) events.push(event)
      if (refusal !== null) return { refused: refusal }
      secrets.push(secret)
      const { current } = foldFamily(events)
      const granted = secrets.find((one) => hash(one).equals(current.tokenHash))
      return { granted: { generation: current.generation, value: granted! } }
    },
    async wait(ms: number) {
      now += ms
    },
  }
  return begin(service, first)
}

function hash(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
