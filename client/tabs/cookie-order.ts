/** A completed refresh, as tabs report it to each other. Times are `Date.now()` of this machine. */
export type RefreshRecord = {
  readonly familyId: string
  /** ISO; later for each newer generation, until the session's absolute expiration. */
  readonly refreshExpiresAt: string
  readonly startedAt: number
  readonly settledAt: number
  /** Whether the refresh held the tab lock: no other one that held it can have overlapped with it. */
  readonly isAlone: boolean
}

/** Well within the server's grace window (10 s by default). */
const repairWithinMs = 2_000

/**
 * Repairs the cookie when two tabs' refreshes overlapped. The response with the older generation may have
 * arrived last: the browser then holds a spent token, and the next refresh, minutes later, would be taken for
 * reuse. One more refresh by any tab, within the server's grace window, sets the newest generation again.
 *
 * @param refresh called after a random delay, so that one tab refreshes for all
 */
export function createCookieOrder(refresh: () => void) {
  let own: RefreshRecord | null = null
  let newest: RefreshRecord | null = null
  let timer: ReturnType<typeof setTimeout> | undefined

  function observe(record: RefreshRecord): void {
    if (newest === null || newest.familyId !== record.familyId || !isOlder(record, newest))
      newest = record
    if (!mayHoldOlderCookie()) return
    clearTimeout(timer)
    timer = setTimeout(
      () => {
        if (mayHoldOlderCookie()) refresh()
      },
      repairWithinMs * (0.1 + 0.9 * Math.random()),
    )
  }

  /** Whether a newer response of another tab overlapped with this tab's last one, without a refresh since. */
  function mayHoldOlderCookie(): boolean {
    if (own === null || newest === null || own.familyId !== newest.familyId) return false
    if (own.isAlone && newest.isAlone) return false
    return isOlder(own, newest) && newest.startedAt <= own.settledAt
  }

  return {
    /** Takes a refresh of this tab. */
    observeOwn(record: RefreshRecord): void {
      own = record
      observe(record)
    },
    /** Takes a refresh of another tab. */
    observe,
    /** Whether no other tab is known to have refreshed after this one. */
    isNewest: (): boolean => own !== null && own === newest,
    /** Whether another tab has refreshed since. @param at `Date.now()` */
    hasOtherSince: (at: number): boolean =>
      newest !== null && newest !== own && newest.settledAt >= at && !mayHoldOlderCookie(),
    /** Cancels a planned repair. */
    stop: (): void => clearTimeout(timer),
  }
}

function isOlder(one: RefreshRecord, other: RefreshRecord): boolean {
  return Date.parse(one.refreshExpiresAt) < Date.parse(other.refreshExpiresAt)
}
