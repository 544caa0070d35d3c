import type { Caller } from '../../server/ledger/caller.ts'
import { decideRotation, type RotationPolicy } from '../../server/ledger/decide.ts'
import { foldFamily } from '../../server/ledger/family.ts'
import type { Witnessed } from '../../server/ledger/sighting.ts'
import { graceMs, hashOf, issued } from './family-events.ts'
import { seeded } from './proxy.ts'

/**
 * A day of one session on the rules alone: its owner refreshes every quarter of an hour, and a thief copies the
 * newest token once. Each row of the table in docs/reference/rotation.md is `days` such days.
 */

const days = 200
const refreshes = 96
const quarterHourMs = 15 * 60 * 1000
const dayMs = refreshes * quarterHourMs

const home: Caller = { ip: '192.0.2.7', userAgent: 'browser' }
const homeIpv6: Caller = { ...home, ip: '2001:db8:1::7' }
const mobile: Caller = { ...home, ip: '198.51.100.9' }

/** Before rule 6 compared callers, every caller was the same to it. */
type Rules = 'before' | 'now' | 'end'

type Day = { readonly ends: boolean; readonly warns: boolean }

type Request = {
  readonly at: number
  readonly by: 'owner' | 'thief'
  readonly caller: Caller
  /** The answer of this attempt is lost, and the next request is its retry. */
  readonly lost?: Uint8Array
  readonly retryOf?: Uint8Array
}

/** The requests of a day, in the order in which they arrive. A thief copies the owner's token at `stolenAt`. */
type Plan = { readonly requests: readonly Request[]; readonly stolenAt: number }

type Scenario = { readonly name: string; readonly plan: (random: () => number) => Plan }

const ownersRefreshes: readonly Request[] = Array.from({ length: refreshes }, (_, i) => ({
  at: i * quarterHourMs,
  by: 'owner',
  caller: home,
}))

/** Comes within the grace window after each refresh of the owner. */
function keepsStep(caller: Caller): Scenario['plan'] {
  return (random) => {
    const stolenAt = random() * (dayMs / 2)
    const steps = ownersRefreshes
      .filter(({ at }) => at > stolenAt)
      .map(({ at }): Request => ({ at: at + 1 + random() * (graceMs - 2), by: 'thief', caller }))
    return { requests: inOrder([...ownersRefreshes, ...steps]), stolenAt }
  }
}

/** Refreshes as often as the owner, at moments of their own. */
function atOwnPace(caller: Caller): Scenario['plan'] {
  return (random) => {
    const stolenAt = random() * (dayMs / 2)
    const requests: Request[] = []
    for (let at = stolenAt + random() * quarterHourMs; at < dayMs; at += quarterHourMs)
      requests.push({ at, by: 'thief', caller })
    return { requests: inOrder([...ownersRefreshes, ...requests]), stolenAt }
  }
}

/** Two tabs that refresh within a second of each other, each request from any of these networks. */
function twoTabs(networks: readonly Caller[]): Scenario['plan'] {
  return (random) => ({
    requests: ownersRefreshes.flatMap(({ at }) =>
      [at, at + random() * 1_000].map((time): Request => {
        const caller = networks[Math.floor(random() * networks.length)] ?? home
        return { at: time, by: 'owner', caller }
      }),
    ),
    stolenAt: Infinity,
  })
}

/** One tab that loses one answer in twenty and retries, each request from any of these networks. */
function badConnection(networks: readonly Caller[]): Scenario['plan'] {
  return (random) => {
    const from = () => networks[Math.floor(random() * networks.length)] ?? home
    const requests = ownersRefreshes.flatMap((request, i): Request[] => {
      if (random() > 0.05) return [{ ...request, caller: from() }]
      const attempt = new Uint8Array(32).fill(i)
      const retry = { ...request, at: request.at + 10_000 }
      return [
        { ...request, caller: from(), lost: attempt },
        { ...retry, caller: from(), retryOf: attempt },
      ]
    })
    return { requests, stolenAt: Infinity }
  }
}

const relays = Array.from({ length: 200 }, (_, i) => ({ ...home, ip: `203.0.${i}.1` }))
const thief: Caller = { ip: '203.0.113.66', userAgent: 'tool' }

export const thieves: readonly Scenario[] = [
  { name: 'keeps step, own network and user agent', plan: keepsStep(thief) },
  {
    name: "keeps step, own network, the owner's user agent",
    plan: keepsStep({ ...thief, userAgent: home.userAgent }),
  },
  {
    name: "keeps step, the owner's network, own user agent",
    plan: keepsStep({ ...thief, ip: '192.0.2.9' }),
  },
  { name: 'at their own pace, own network and user agent', plan: atOwnPace(thief) },
  { name: "at their own pace, the owner's network and user agent", plan: atOwnPace(home) },
]

export const honest: readonly Scenario[] = [
  {
    name: 'one tab that loses answers, a phone between Wi-Fi and mobile',
    plan: badConnection([home, mobile]),
  },
  { name: 'two tabs, one network', plan: twoTabs([home]) },
  { name: 'two tabs, IPv4 and IPv6', plan: twoTabs([home, homeIpv6]) },
  { name: 'two tabs, a phone between Wi-Fi and mobile', plan: twoTabs([home, home, home, mobile]) },
  { name: 'two tabs behind a relay of many addresses', plan: twoTabs(relays) },
]

/** How many of `days` days ended the session and how many gave a warning, in per cent, by these rules. */
export function ratesOf({ plan }: Scenario, rules: Rules): { ended: number; warned: number } {
  const random = seeded(1)
  const outcomes = Array.from({ length: days }, () => live(plan(random), rules))
  const share = (is: (day: Day) => boolean) =>
    Math.round((100 * outcomes.filter(is).length) / outcomes.length)
  return { ended: share(({ ends }) => ends), warned: share(({ warns }) => warns) }
}

/** Each holder presents the newest token that they were given. Tabs share it once the answer is there. */
function live({ requests, stolenAt }: Plan, rules: Rules): Day {
  const policy: RotationPolicy = {
    graceMs,
    idleMs: dayMs,
    replaysElsewhere: rules === 'end' ? 'end' : 'warn',
  }
  let history: Witnessed[] = [
    { event: issued({ expiresAt: 2 * dayMs, absoluteExpiresAt: 2 * dayMs }), caller: home },
  ]
  const held = { owner: 0, thief: -1 }
  let shared = { generation: 0, from: -Infinity }
  let warns = false
  for (const { at, by, caller, lost, retryOf } of requests) {
    if (held.thief < 0 && at > stolenAt) held.thief = held.owner
    if (by === 'thief' && held.thief < 0) continue
    // A second tab sends what the first one had: its answer takes a second.
    const isSecondTab = by === 'owner' && at - shared.from < 1_000
    const generation = isSecondTab ? shared.generation : held[by]
    const { event, sighting } = decideRotation(foldFamily(history.map((one) => one.event)), {
      presented: {
        generation,
        isIssued: true,
        transport: 'cookie',
        attemptHash: lost ?? retryOf ?? null,
        previousAttemptHashes: [],
        caller: rules === 'before' ? home : caller,
      },
      history,
      transport: 'cookie',
      userMayRefresh: true,
      next: { tokenHash: hashOf('n'), salt: new Uint8Array(16) },
      now: at,
      policy,
    })
    if (event === null) throw new Error('a refresh that decided nothing')
    if (event.kind === 'reuse_detected') return { ends: true, warns }
    warns ||= sighting?.isSuspicious ?? false
    history.push({ event, caller: rules === 'before' ? home : caller })
    if (by === 'owner' && event.kind === 'rotated') shared = { generation, from: at }
    if (lost === undefined) held[by] = event.generation
    history = newestOf(history)
  }
  return { ends: false, warns }
}

/** The current generation and three before it, which is what the service reads. */
function newestOf(history: Witnessed[]): Witnessed[] {
  const current = history.at(-1)!.event.generation
  return history.filter(({ event }) => event.generation > current - 4)
}

function inOrder(requests: Request[]): Request[] {
  return requests.toSorted((one, other) => one.at - other.at)
}
