import type { LogSecurityEvent } from '../observability/security-log.ts'
import { refusalsOfNetwork } from './bounds.ts'
import { networksOf } from './networks.ts'

/** Which networks one process refuses without looking at their requests. */
export type Floods = {
  /** Counts an answer that refused this address. */
  countRefusal(ip: string): void
  /** Whether any network has had too many of them in this second. */
  isAny(): boolean
  /** Whether a network of this address has. */
  isFlooding(ip: string): boolean
}

/** In one period. More than these are not counted. */
const maxNetworks = 50_000

/** An event for a network at most this often. */
const eventMs = 60_000

/** @param periodMs a second, unless a test takes another time */
export function createFloods(log: LogSecurityEvent, periodMs = 1_000): Floods {
  const counts = new Map<string, number>()
  const flooding = new Set<string>()
  let endsAt = 0
  const logged = new Set<string>()
  let loggedUntil = 0

  function begin(now: number): void {
    counts.clear()
    flooding.clear()
    endsAt = now + periodMs
    if (now < loggedUntil) return
    logged.clear()
    loggedUntil = now + eventMs
  }

  return {
    countRefusal(ip) {
      const now = performance.now()
      if (now >= endsAt) begin(now)
      for (const [i, network] of networksOf(ip).entries()) {
        const seen = (counts.get(network) ?? 0) + 1
        if (seen > 1 || counts.size < maxNetworks) counts.set(network, seen)
        if (seen !== refusalsOfNetwork[i]) continue
        flooding.add(network)
        if (logged.has(network)) continue
        logged.add(network)
        log({ event: 'network_flooding', network, ip })
      }
    },
    isAny: () => flooding.size > 0 && performance.now() < endsAt,
    isFlooding: (ip) => networksOf(ip).some((network) => flooding.has(network)),
  }
}
