import { createHash } from 'node:crypto'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { decideRotation } from '../../server/ledger/decide.ts'
import { isSuccession, type LedgerEvent } from '../../server/ledger/events.ts'
import { foldFamily } from '../../server/ledger/family.ts'
import type { Witnessed } from '../../server/ledger/sighting.ts'
import { issued, owner, present } from '../support/family-events.ts'
import {
  begin,
  theftScenario,
  expectOwnerStaysSignedIn,
  expectThiefFound,
  ownerScenario,
  type Request,
  type World,
} from '../support/theft.ts'

const numRuns = 3_000
const seed = Date.now() | 0

test('the rules never sign out an honest user with two tabs, a bad connection, changing networks and a browser that is killed (docs/reference/rotation.md)', async () => {
  let rotations = 0
  await fc.assert(
    fc.asyncProperty(ownerScenario, async (scenario) => {
      const world = newWorld()
      await expectOwnerStaysSignedIn(world, scenario)
      rotations += world.expected.current
    }),
    { numRuns, seed },
  )
  // The scenarios rotated tokens at all.
  expect(rotations, `seed ${seed}`).toBeGreaterThan(2 * numRuns)
}, 120_000)

test.each(['owner', 'thief'] as const)(
  'the rules find a thief who was granted a refresh within one more rotation of the %s (RFC 9700 §4.14.2)',
  async (nextToRefresh) => {
    const ends = { foundBefore: 0, foundAtLast: 0 }
    await fc.assert(
      fc.asyncProperty(theftScenario, async (scenario) => {
        const world = newWorld()
        if (await expectThiefFound(world, scenario, nextToRefresh)) ends.foundAtLast++
        else if (world.expected.isOver) ends.foundBefore++
      }),
      { numRuns, seed },
    )
    expect(ends.foundBefore, `seed ${seed}`).toBeGreaterThan(numRuns / 10)
    // Rule 6 finds most thieves before, because they come from another network with another user agent.
    expect(ends.foundAtLast, `seed ${seed}`).toBeGreaterThan(numRuns / 20)
  },
  120_000,
)

/** The rules alone, on a history in memory. */
function newWorld(): World {
  const first = { generation: 0, value: 'secret 0' }
  const events: LedgerEvent[] = [issued({ tokenHash: hash(first.value) })]
  const history: Witnessed[] = [{ event: events[0]!, caller: owner }]
  const secrets = [first.value]
  let now = 0
  const service = {
    takesProofs: true,
    async present({ token: { generation, value }, attempt, previous, caller, proof }: Request) {
      const family = foldFamily(events)
      const made = events.find(
        (event) =>
          (event.kind === 'issued' || isSuccession(event)) && event.generation === generation,
      )
      const secret = `secret ${secrets.length}`
      const { event, refusal } = decideRotation(
        family,
        present(generation, now, {
          isIssued: made !== undefined && 'tokenHash' in made && hash(value).equals(made.tokenHash),
          attemptHash: attempt === null ? null : hash(attempt),
          previousAttemptHashes: previous.map(hash),
          caller,
          history,
          ...(proof && { reauthentication: { methods: ['pwd'], authenticatedAt: now } }),
          next: { tokenHash: hash(secret), salt: new Uint8Array(16) },
        }),
      )
      if (event !== null) {
        events.push(event)
        history.push({ event, caller })
      }
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
