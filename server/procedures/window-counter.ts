/**
 * Counts how often this process has seen an id in the current window. Ids that end alike share a count, so
 * that a million ids take a megabyte: the count may be too high, never too low, and ends at 255. So nothing
 * is refused for it alone.
 *
 * @param points how much this time counts; returns the count with it
 */
export type WindowCounter = (id: string, points?: number) => number

export function createWindowCounter(windowMs: number): WindowCounter {
  const digits = 5
  const counts = new Uint8Array(16 ** digits)
  let endsAt = 0
  return (id, points = 1) => {
    const now = performance.now()
    if (now >= endsAt) {
      counts.fill(0)
      endsAt = now + windowMs
    }
    // The last digits of a UUID are random.
    const index = Number.parseInt(id.slice(-digits), 16)
    const seen = Math.min(255, (counts[index] ?? 0) + points)
    counts[index] = seen
    return seen
  }
}
