import { decideRotation } from '../../server/ledger/decide.ts'
import { maxPreviousAttempts } from '../../server/ledger/events.ts'
import { foldFamily } from '../../server/ledger/family.ts'
import type { Witnessed } from '../../server/ledger/sighting.ts'
import { hashOf, issued, owner, policy } from './family-events.ts'
import { seeded } from './proxy.ts'

/**
 * A day of one session on the rules alone: its owner refreshes every quarter of an hour in a browser that may be
 * killed, or a thief copies the profile of that browser. Each row of the table in docs/security/killed-browsers.md is
 * `days` such days.
 */

const days = 200
const refreshes = 96
const quarterHourMs = 15 * 60 * 1000
const dayMs = refreshes * quarterHourMs
/** The browser writes its cookie so late. */
const cookieIsWrittenMs = 30_000

/** What the client names: the attempt of the request alone, or those before it as well. */
export type Named = 'one attempt' | 'all attempts'

/** A copy of a browser's profile: the generation of the cookie, and the attempts in its notes. */
type Copy = { generation: number; attempts: Uint8Array[] }

type Scenario = {
  readonly name: string
  /** Page loads, each with a refresh, within ten seconds before the browser is killed. */
  readonly loads: number
  readonly thief?: 'copies the running browser' | 'copies the disk'
}

export const scenarios: readonly Scenario[] = [
  { name: 'honest: killed once, within 30 s of a refresh', loads: 1 },
  { name: 'honest: killed once, after five page loads in ten seconds', loads: 5 },
  {
    name: 'a thief who copies the profile of the running browser',
    loads: 1,
    thief: 'copies the running browser',
  },
  {
    name: 'a thief who copies the disk within 30 s of a refresh',
    loads: 1,
    thief: 'copies the disk',
  },
]

/** How many of `days` days end the session, in per cent. */
export function endedBy(scenario: Scenario, named: Named): number {
  const random = seeded(1)
  const ended = Array.from({ length: days }, () => live(scenario, named, random))
  return Math.round((100 * ended.filter(Boolean).length) / days)
}

/** @returns whether the session ended in a reuse */
function live({ loads, thief }: Scenario, named: Named, random: () => number): boolean {
  const history: Witnessed[] = [
    { event: issued({ expiresAt: 2 * dayMs, absoluteExpiresAt: 2 * dayMs }), caller: owner },
  ]
  const browser: Copy = { generation: 0, attempts: [] }
  let stolen: Copy | null = null
  let attempts = 0

  /** @returns false when the session ended */
  function refresh(profile: Copy, now: number): boolean {
    const attemptHash = new Uint8Array(Buffer.alloc(32))
    new DataView(attemptHash.buffer).setUint32(0, ++attempts)
    const previous = named === 'all attempts' ? profile.attempts.slice(-maxPreviousAttempts) : []
    profile.attempts.push(attemptHash)
    const { event } = decideRotation(foldFamily(history.map((one) => one.event)), {
      presented: {
        generation: profile.generation,
        isIssued: true,
        transport: 'cookie',
        attemptHash,
        previousAttemptHashes: previous,
        caller: owner,
      },
      history,
      transport: 'cookie',
      userMayRefresh: true,
      next: { tokenHash: hashOf('n'), salt: new Uint8Array(16) },
      now,
      policy: { ...policy, idleMs: dayMs },
    })
    if (event === null) throw new Error('a refresh that decided nothing')
    history.push({ event, caller: owner })
    profile.generation = event.generation
    return event.kind !== 'reuse_detected'
  }

  // In the middle of the day, so that what follows is seen.
  const killedIn = Math.floor((0.25 + random() / 2) * refreshes)
  for (let i = 0; i < refreshes; i += 1) {
    const at = i * quarterHourMs
    const onDisk = browser.generation
    const times = i === killedIn ? loads : 1
    for (let load = 0; load < times; load += 1)
      if (!refresh(browser, at + load * 2_000)) return true
    const killedAt = at + times * 2_000 + random() * (cookieIsWrittenMs - 10_000)
    if (i === killedIn && thief !== undefined) {
      const generation = thief === 'copies the disk' ? onDisk : browser.generation
      stolen = { generation, attempts: [...browser.attempts] }
    } else if (i === killedIn) {
      browser.generation = onDisk
      // It is started again after 15 s or more.
      if (!refresh(browser, killedAt + 15_000 + random() * 5 * 60_000)) return true
    }
    // At their own pace, later in the same quarter of an hour.
    if (stolen !== null && !refresh(stolen, at + (0.2 + 0.7 * random()) * quarterHourMs))
      return true
  }
  return false
}
