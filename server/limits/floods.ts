import type { LogSecurityEvent } from '../observability/security-log.ts'
import { refusalsOfNetwork } from './bounds.ts'
import { networksOf } from './networks.ts'

/** Which networks one process refuses without looking at their requests. */
export type Floods = {
  /** Counts an answer that refused this address. */
  countRefusal(ip: string): void
  /** Whether any network floods. */
  isAny(): boolean
  /** Whether a network of this address does. */
  isFlooding(ip: string): boolean
  /** Whether a request of this address is answered unread: nine of ten of a network that floods. */
  refusesUnread(ip: string): boolean
}

/** Of the requests of a network that floods, one in so many is answered as usual. */
const answeredOneIn = 10

/** In one period. More than these are not counted. */
const maxNetworks = 50_000

/** An event for a network at most this often. */
const eventMs = 60_000

/**
 * A network that reaches its limit floods until the end of the period, and for the next one. There, each refusal stands
 * for those that were not made, so a flood that lasts is refused without a pause.
 *
 * @param periodMs a second, unless a test takes another time
 */
export function createFloods(log: LogSecurityEvent, periodMs = 1_000): Floods {
  const counts = new Map<string, number>()
  /** Those that reached their limit in this period: they flood in the next one as well. */
  const reached = new Set<string>()
  /** Those that reached it in the period before. */
  let before: ReadonlySet<string> = new Set()
  let endsAt = 0
  const logged = new Set<string>()
  let loggedUntil = 0

  function beginPeriod(now: number): void {
    before = now < endsAt + periodMs ? new Set(reached) : new Set()
    counts.clear()
    reached.clear()
    endsAt = now + periodMs
    if (now < loggedUntil) return
    logged.clear()
    loggedUntil = now + eventMs
  }

  const isFlooding = (ip: string) =>
    networksOf(ip).some((network) => reached.has(network) || before.has(network))

  return {
    countRefusal(ip) {
      const now = performance.now()
      if (now >= endsAt) beginPeriod(now)
      for (const [i, network] of networksOf(ip).entries()) {
        const limit = refusalsOfNetwork[i] ?? Number.POSITIVE_INFINITY
        const seen = counts.get(network) ?? 0
        const count = seen + (before.has(network) ? answeredOneIn : 1)
        if (seen > 0 || counts.size < maxNetworks) counts.set(network, count)
        if (count < limit || reached.has(network)) continue
        reached.add(network)
        if (logged.has(network)) continue
        logged.add(network)
        log({ event: 'network_flooding', network, ip })
      }
    },
    isAny() {
      // Asked for each request, and almost always so.
      if (reached.size + before.size === 0) return false
      const now = performance.now()
      if (now >= endsAt) beginPeriod(now)
      return reached.size + before.size > 0
    },
    isFlooding,
    refusesUnread: (ip) => isFlooding(ip) && Math.random() * answeredOneIn >= 1,
  }
}
