/** A copy that is further behind than this is not used for decisions. */
export const maxLagMs = 5_000

/** How far a copy is behind its source. */
export type Freshness = {
  /** The copy contains everything up to `ageMs` ago. */
  confirm(ageMs: number): void
  /** How far the copy may be behind, in milliseconds; counted from the start before the first confirmation. */
  lagMs(): number
  /** Also false before the first confirmation. */
  isCurrent(): boolean
}

export function createFreshness(): Freshness {
  let isConfirmed = false
  let at = clocks()
  const lagMs = () => {
    const now = clocks()
    // The monotonic clock may stop while the machine sleeps, and the wall clock can be set. The larger lag counts.
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
