import { accessTokenRetentionMs } from '../access-token-life.ts'

/** How long an ended session is remembered: all its access tokens have expired then. */
export const endedRetentionMs = accessTokenRetentionMs

/** About 15 MB. More ends than this in 16 minutes happen only when all users are signed out at once. */
export const maxEndedSessions = 100_000

export type Ended = {
  readonly familyId: string
  /** Epoch milliseconds, by the database's clock. */
  readonly endedAt: number
}

/** Sessions that have ended lately, in the order in which they were learned of. */
export type EndedSet = {
  has(familyId: string): boolean
  add(ended: readonly Ended[]): void
  /** False while one is missing for want of room: then `has` may say no of a session that is over. */
  isComplete(): boolean
  /**
   * Those learned of after `position`, at most `limit`, and the position of the last. From the first on for
   * 0, and for a position that was never given.
   */
  after(position: number, limit: number): { ended: readonly Ended[]; position: number }
}

/**
 * Each session is kept for `keepMs` from when it was learned of, which is never too short: it was over by
 * then. Nothing that is over begins again, so one too many or one told twice does no harm.
 */
export function createEndedSet(retentionMs: number, capacity: number): EndedSet {
  let log: (Ended & { readonly forgetAt: number })[] = []
  /** The position of `log[0]` less one: how many have been forgotten. */
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
