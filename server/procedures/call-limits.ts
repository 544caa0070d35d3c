import { RateLimiterPostgres } from 'rate-limiter-flexible'
import type { Database } from '../../db/connection/connect.ts'
import type { AccessTokenClaims } from '../verifier/index.ts'
import { consume, limitStore } from './limits.ts'
import { createWindowCounter } from './window-counter.ts'

/** How many calls of `/trpc` a session and a user may make. Each call of a batch counts. */
export type CallLimits = {
  /**
   * Costs a query only if this process has seen the session or the user unusually often in the current ten
   * seconds.
   *
   * @throws {AuthError} `too_many_attempts` with the seconds to wait
   */
  count(caller: Pick<AccessTokenClaims, 'userId' | 'familyId'>, calls: number): Promise<void>
}

const windowSeconds = 10

/**
 * `free` calls in a window cost no query; then `counted` more are counted for all processes together. A page
 * makes ten or twenty calls as it opens: a session may open six tabs in the same second, and a user two
 * browsers.
 */
const perSession = { keyPrefix: 'calls-session', free: 60, counted: 60 }
const perUser = { keyPrefix: 'calls-user', free: 120, counted: 120 }

export function createCallLimits(database: Database): CallLimits {
  const countFor = ({ keyPrefix, free, counted }: typeof perSession) => {
    const seenHere = createWindowCounter(windowSeconds * 1000)
    const limiter = new RateLimiterPostgres({
      ...limitStore(database),
      keyPrefix,
      points: counted,
      duration: windowSeconds,
      // Once the limit is reached, further calls are refused without a write.
      inMemoryBlockOnConsumed: counted,
    })
    return async (id: string, calls: number) => {
      if (seenHere(id, calls) > free) await consume(limiter, id, calls)
    }
  }
  const countSession = countFor(perSession)
  const countUser = countFor(perUser)
  return {
    async count({ familyId, userId }, calls) {
      await countSession(familyId, calls)
      await countUser(userId, calls)
    },
  }
}

/** `RATE_LIMITS=off`, for benchmarks. */
export const noCallLimits: CallLimits = { count: async () => {} }
