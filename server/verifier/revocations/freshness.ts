/** A copy that is further behind than this decides nothing any more. */
export const maxLagMs = 5_000

/** How far a copy of something is behind. */
export type Freshness = {
  /** All that was so `ageMs` ago is known. */
  confirm(ageMs: number): void
  /** Since when something may be missing; since the start while nothing was confirmed. */
  lagMs(): number
  /** False before the first confirmation, too. */
  isCurrent(): boolean
}

export function createFreshness(): Freshness {
  let isConfirmed = false
  let at = clocks()
  const lagMs = () => {
    const now = clocks()
    // One clock stands still while the machine sleeps, the other can be set: the worse one counts.
    return Math.max(now.monotonic - at.monotonic, now.wall - at.wall)
  }
  return {
    confirm(ageMs) {
      const { monotonic, wall } = clocks()
      isConfirmed = true
      at = { monotonic: monotonic - ageMs, wall: wall - ageMs }
    },
    lagMs,
    isCurrent: () => isConfirmed && lagMs() <= maxLagMs,
  }
}

function clocks(): { monotonic: number; wall: number } {
  return { monotonic: performance.now(), wall: Date.now() }
}
