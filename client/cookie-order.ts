/** One refresh that was answered, in words all tabs may hear. Times are `Date.now()` of this machine. */
export type Settled = {
  readonly familyId: string
  /** ISO; later for each newer generation, until the absolute end of the session. */
  readonly refreshExpiresAt: string
  readonly startedAt: number
  readonly settledAt: number
  /** It held the lock: nobody else's can have overlapped. */
  readonly isAlone: boolean
}

/**
 * Notices that an older answer's cookie may have come in after a newer one's. The browser would then
 * hold a spent token, and the next refresh, minutes later, would look like theft. One more refresh
 * at once gets the newest generation again, within the server's grace window.
 */
export function createCookieOrder() {
  let own: Settled | null = null
  let newest: Settled | null = null

  /** What may have crossed: of one family, the other newer, and begun before ours was over. */
  function isOvertaken(): boolean {
    if (own === null || newest === null || own.familyId !== newest.familyId) return false
    if (own.isAlone && newest.isAlone) return false
    return (
      Date.parse(newest.refreshExpiresAt) > Date.parse(own.refreshExpiresAt) &&
      newest.startedAt <= own.settledAt
    )
  }

  return {
    /** @returns whether to refresh again at once */
    settled(mark: Settled): boolean {
      own = mark
      return isOvertaken()
    },
    /** Of another tab. @returns whether to refresh again at once */
    heard(mark: Settled): boolean {
      if (newest === null || newest.familyId !== mark.familyId || isLater(mark, newest))
        newest = mark
      return newest === mark && isOvertaken()
    },
  }
}

function isLater(one: Settled, other: Settled): boolean {
  return Date.parse(one.refreshExpiresAt) > Date.parse(other.refreshExpiresAt)
}
