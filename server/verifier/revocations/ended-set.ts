import { accessTokenRetentionMs } from '../access-token-life.ts'

/** How long an ended session is remembered: all its access tokens have expired then. */
export const endedRetentionMs = accessTokenRetentionMs

/** About 15 MB. More ends than this in 16 minutes happen only when all users are signed out at once. */
export const maxEndedSessions = 100_000

export type Ended = {
  readonly familyId: string
  /** Epoch milliseconds by the database's clock. */
  readonly endedAt: number
}

/** Recently ended sessions, in the order in which they were added. */
export type EndedSet = {
  has(familyId: string): boolean
  add(ended: readonly Ended[]): void
  /** False while sessions may be missing because the set was full: `has` may then be wrong about an ended session. */
  isComplete(): boolean
  /**
   * Up to `limit` sessions added after `position`, and the position of the last of them. For 0 and for an
   * unknown position it starts with the first session.
   */
  after(position: number, limit: number): { ended: readonly Ended[]; position: number }
}

/**
 * Each session is kept for `retentionMs` after it was added. That is long enough, because it had ended by
 * then. An ended session never becomes active again, so keeping one too long or adding it twice does no harm.
 */
export function createEndedSet(retentionMs: number, capacity: number): EndedSet {
  let log: (Ended & { readonly forgetAt: number })[] = []
  /** How many sessions were removed: the position of `log[0]` minus one. */
  let forgotten = 0
  const known = new Set<string>()
  let incompleteUntil = -Infinity

  function forget(now: number): void {
    const kept = log.findIndex(({ forgetAt }) => forgetAt > now)
    const count = kept === -1 ? log.length : kept
    if (count === 0) return
    for (const { familyId } of log.slice(0, count)) known.delete(familyId)
    log = log.slice(count)
    forgotten += count
  }

  return {
    has: (familyId) => known.has(familyId),
    add(ended) {
      const now = performance.now()
      forget(now)
      for (const { familyId, endedAt } of ended) {
        if (known.has(familyId)) continue
        if (log.length >= capacity) {
          incompleteUntil = now + retentionMs
          return
        }
        known.add(familyId)
        log.push({ familyId, endedAt, forgetAt: now + retentionMs })
      }
    },
    isComplete: () => performance.now() >= incompleteUntil,
    after(position, limit) {
      const asked = position - forgotten
      const from = asked < 0 || asked > log.length ? 0 : asked
      const ended = log.slice(from, from + limit)
      return { ended, position: forgotten + from + ended.length }
    },
  }
}
