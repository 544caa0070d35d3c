import { test } from 'vitest'

/** Whether this run includes what takes long: `npm run test:long` does, `npm test` does not. */
export const runsLong = process.env.TEST_LONG === 'yes'

/** A situation that takes long. */
export const longTest = test.runIf(runsLong)

/** How often a test repeats: `usual` times, or `long` times where a run includes what takes long. */
export function repeats(usual: number, long: number): number {
  return runsLong ? long : usual
}
