/** One refresh that was answered, in words all tabs may hear. Times are `Date.now()` of this machine. */
export type RefreshRecord = {
  readonly familyId: string
  /** ISO; later for each newer generation, until the absolute end of the session. */
  readonly refreshExpiresAt: string
  readonly startedAt: number
  readonly settledAt: number
  /** It held the lock: no other that held it can have overlapped. */
  readonly isAlone: boolean
}

/**
 * Notices that an older answer's cookie may have come in after a newer one's. The browser would then
 * hold a spent token, and the next refresh, minutes later, would look like theft. One more refresh by
 * any tab, while the server's grace window lasts, gets the newest generation again.
 */
export function createCookieOrder() {
  let own: RefreshRecord | null = null
  let newest: RefreshRecord | null = null

  function observed(mark: RefreshRecord): void {
    if (newest === null || newest.familyId !== mark.familyId || !isBehind(mark, newest))
      newest = mark
  }

  return {
    settled(mark: RefreshRecord): void {
      own = mark
      observed(mark)
    },
    /** Of another tab. */
    heard: observed,
    /** Whether somebody's newer answer crossed ours, and nobody has refreshed since. */
    isCrossed(): boolean {
      if (own === null || newest === null || own.familyId !== newest.familyId) return false
      if (own.isAlone && newest.isAlone) return false
      return isBehind(own, newest) && newest.startedAt <= own.settledAt
    },
  }
}

function isBehind(one: RefreshRecord, other: RefreshRecord): boolean {
  return Date.parse(one.refreshExpiresAt) < Date.parse(other.refreshExpiresAt)
}
