import type { LogSecurityEvent } from '../observability/security-log.ts'
import {
  ledgerRowsOfUser,
  refreshesOfFamily,
  refreshesOfUser,
  uncountedRefreshes,
  type Lifetimes,
} from './bounds.ts'
import type { Counters } from './counters.ts'
import { createRecentCounts } from './recent-counts.ts'
import type { AuthError } from '../errors.ts'
import { tooManyAttempts } from './too-many-attempts.ts'

export type RefreshLimits = {
  /**
   * Counts a refresh of this family, whether it succeeds or not. Costs a query only if this process has
   * seen the family unusually often in the current minute.
   *
   * @returns the error if a limit is exceeded; the caller must still report a reuse as a reuse
   */
  beforeRefresh(familyId: string): Promise<AuthError | null>
  /** Counts a granted refresh of the user over all families, in the memory of this process. */
  afterRefresh(refreshed: { familyId: string; userId: string; ip: string | null }): void
  /** Counts a session that began, for the alert on the rows of one user. */
  afterSignIn(started: { userId: string; ip: string | null }): void
}

/** So many families at most are remembered; the users above their limit have fewer. */
const maxFamilies = 10_000

export function createRefreshLimits(
  counters: Counters,
  { lifetimes, log }: { lifetimes: Lifetimes; log: LogSecurityEvent },
): RefreshLimits {
  const ofFamily = refreshesOfFamily(lifetimes)
  const ofUser = refreshesOfUser(lifetimes)
  const rowsOfUser = ledgerRowsOfUser(lifetimes)
  const families = createRecentCounts(ofFamily.durationMs)
  /**
   * Families of users above their limit. The user of a family is known only once it was refreshed, so each
   * family is granted one more refresh before it is refused. It costs no query.
   */
  const refused = new Set<string>()
  const users = createRecentCounts(ofUser.durationMs, () => refused.clear())
  const rows = createRecentCounts(rowsOfUser.durationMs)

  function countRow(userId: string, ip: string | null): void {
    const seen = rows.add(userId)
    if (seen === rowsOfUser.points) log({ event: 'ledger_rows_exceeded', userId, rows: seen, ip })
  }

  return {
    async beforeRefresh(familyId) {
      if (refused.has(familyId) && users.msLeft() > 0)
        return tooManyAttempts([{ bound: ofUser, msLeft: users.msLeft() }])
      if (families.add(familyId) <= uncountedRefreshes) return null
      const over = await counters.take([{ bound: ofFamily, key: familyId }])
      return over.length > 0 ? tooManyAttempts(over) : null
    },
    afterRefresh({ familyId, userId, ip }) {
      countRow(userId, ip)
      if (users.add(userId) >= ofUser.points && refused.size < maxFamilies) refused.add(familyId)
    },
    afterSignIn: ({ userId, ip }) => countRow(userId, ip),
  }
}
