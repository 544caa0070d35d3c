/** In memory, and in this closure alone. */
export type HeldToken = {
  readonly value: string
  /** What is left of its life, in milliseconds; not above 0 when it has expired. */
  leftMs(): number
  readonly lifetimeMs: number
}

/** @param watch Started before the token was asked for, so that it never seems younger than it is. */
export function holdToken(value: string, expiresInSeconds: number, watch: () => number): HeldToken {
  const lifetimeMs = expiresInSeconds * 1000
  return { value, lifetimeMs, leftMs: () => lifetimeMs - watch() }
}

/**
 * Milliseconds since now, by the clock that saw more of them: one stands still while a laptop sleeps,
 * the other is set by people. What time of day either says does not matter.
 */
export function stopwatch(): () => number {
  const steadyAt = performance.now()
  const wallAt = Date.now()
  return () => Math.max(performance.now() - steadyAt, Date.now() - wallAt)
}
