import type { Database } from '../../db/connection/connect.ts'
import type { LogSecurityEvent } from '../observability/security-log.ts'
import { endingOthers, provedSignIns, registrationsOfNetwork, type Lifetimes } from './bounds.ts'
import type { Count, Counters } from './counters.ts'
import { networksOf } from './networks.ts'
import {
  countsOf,
  createPasswordLimits,
  type PasswordLimits,
  type PasswordQueue,
} from './password-limits.ts'
import { createRefreshLimits, type RefreshLimits } from './refresh-limits.ts'
import { tooManyAttempts } from './too-many-attempts.ts'

/** Rate limits. Those that count in Postgres hold across processes. */
export type Limits = PasswordLimits &
  RefreshLimits & {
    /** @throws {AuthError} `too_many_attempts` */
    beforeRegistration(ip: string | null): Promise<void>
    /**
     * Counts the sessions that sign-ins of the team's own start for a user.
     *
     * @throws {AuthError} `too_many_attempts`
     */
    beforeProvedSignIn(userId: string): Promise<void>
    /**
     * Counts how often a session ends all others of its user. Each time, the user's sign-ins in progress fail.
     *
     * @throws {AuthError} `too_many_attempts`
     */
    beforeEndingOthers(familyId: string): Promise<void>
  }

export function createLimits(
  database: Database,
  {
    counters,
    lifetimes,
    passwordQueue,
    log,
  }: {
    readonly counters: Counters
    readonly lifetimes: Lifetimes
    readonly passwordQueue: PasswordQueue
    readonly log: LogSecurityEvent
  },
): Limits {
  async function take(counts: readonly Count[]): Promise<void> {
    const over = await counters.take(counts)
    if (over.length > 0) throw tooManyAttempts(over)
  }

  return {
    ...createPasswordLimits(database, counters, passwordQueue),
    ...createRefreshLimits(counters, { lifetimes, log }),
    beforeRegistration: (ip) => take(countsOf(registrationsOfNetwork, networksOf(ip))),
    beforeProvedSignIn: (userId) => take(provedSignIns.map((bound) => ({ bound, key: userId }))),
    beforeEndingOthers: (familyId) => take([{ bound: endingOthers, key: familyId }]),
  }
}

/** `RATE_LIMITS=off`, for benchmarks. */
export const noLimits: Limits = {
  countingPassword: (_attempt, check) => check(),
  beforeRegistration: async () => {},
  beforeRefresh: async () => null,
  afterRefresh: () => {},
  afterSignIn: () => {},
  beforeProvedSignIn: async () => {},
  beforeEndingOthers: async () => {},
}
