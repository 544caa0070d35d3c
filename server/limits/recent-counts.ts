/** Counts per id in the memory of one process, which begin again at 0 after each period. */
export type RecentCounts = {
  /**
   * @param points how much this time counts, 1 unless given
   * @returns the count of the id in this period, this time included
   */
  add(id: string, points?: number): number
  /** Until all counts begin again at 0. */
  msLeft(): number
}

/**
 * Ids that end alike share a count, so that a million ids take two megabytes: the count may be too high. It
 * is never too low, but ends at 65,535.
 *
 * @param onNewPeriod is called before the first count of a period
 */
export function createRecentCounts(periodMs: number, onNewPeriod = () => {}): RecentCounts {
  const digits = 5
  const counts = new Uint16Array(16 ** digits)
  let endsAt = 0
  return {
    add(id, points = 1) {
      const now = performance.now()
      if (now >= endsAt) {
        counts.fill(0)
        endsAt = now + periodMs
        onNewPeriod()
      }
      // The last digits of a UUID are random.
      const index = Number.parseInt(id.slice(-digits), 16)
      const seen = Math.min(0xffff, (counts[index] ?? 0) + points)
      counts[index] = seen
      return seen
    },
    msLeft: () => Math.max(0, endsAt - performance.now()),
  }
}
