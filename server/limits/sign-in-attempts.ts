import type { Bound } from './bounds.ts'
import type { Counters } from './counters.ts'

/** One use of an `attemptId` in a day. It is no rate limit: `RATE_LIMITS=off` leaves it. */
const signInAttempt: Bound = {
  name: 'sign-in-attempt',
  points: 1,
  durationMs: 24 * 3_600_000,
}

export type SignInAttempts = {
  /** Whether this is the first use of the id, in any process. */
  claim(attemptId: string): Promise<boolean>
}

export function createSignInAttempts(counters: Pick<Counters, 'take'>): SignInAttempts {
  return {
    claim: async (attemptId) =>
      (await counters.take([{ bound: signInAttempt, key: attemptId }])).length === 0,
  }
}
