/** An access token in memory. It is stored nowhere else, but for a storage with `keepAccessToken`. */
export type HeldToken = {
  readonly value: string
  /** Milliseconds until it expires; 0 or less once it has. */
  leftMs(): number
  readonly lifetimeMs: number
  /** What it was exchanged for, by audience. They expire with it, and are dropped together with it. */
  readonly exchanged: Map<string, Promise<string>>
}

/** @param watch Started before the request for the token, so that the token never seems younger than it is. */
export function holdToken(value: string, expiresInSeconds: number, watch: () => number): HeldToken {
  const lifetimeMs = expiresInSeconds * 1000
  return { value, lifetimeMs, leftMs: () => lifetimeMs - watch(), exchanged: new Map() }
}

/**
 * Returns a function that measures the milliseconds since this call. It takes the larger measure of two clocks:
 * `performance.now()` may stop while a device sleeps, and `Date.now()` jumps when the clock is set.
 */
export function stopwatch(): () => number {
  const steadyAt = performance.now()
  const wallAt = Date.now()
  return () => Math.max(performance.now() - steadyAt, Date.now() - wallAt)
}
