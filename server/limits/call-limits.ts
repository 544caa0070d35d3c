import { callsOfSession, callsOfUser, type CallBound } from './bounds.ts'
import type { Counters } from './counters.ts'
import { createRecentCounts } from './recent-counts.ts'
import { tooManyAttempts } from './too-many-attempts.ts'

/** How many calls of `/trpc` a session and a user may make. Each call of a batch counts. */
export type CallLimits = {
  /**
   * Costs a query only if this process has seen the session or the user unusually often in the current ten
   * seconds.
   *
   * @throws {AuthError} `too_many_attempts` with the seconds to wait
   */
  count(
    caller: { readonly userId: string; readonly familyId: string },
    calls: number,
  ): Promise<void>
}

export function createCallLimits(counters: Counters): CallLimits {
  const countFor = ({ free, bound }: CallBound) => {
    const seenHere = createRecentCounts(bound.durationMs)
    return async (key: string, calls: number) => {
      if (seenHere.add(key, calls) <= free) return
      const over = await counters.take([{ bound, key }], calls)
      if (over.length > 0) throw tooManyAttempts(over)
    }
  }
  const countSession = countFor(callsOfSession)
  const countUser = countFor(callsOfUser)
  return {
    async count({ familyId, userId }, calls) {
      await countSession(familyId, calls)
      await countUser(userId, calls)
    },
  }
}

/** `RATE_LIMITS=off`, for benchmarks. */
export const noCallLimits: CallLimits = { count: async () => {} }
