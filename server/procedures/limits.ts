import { createHash } from 'node:crypto'
import { isIPv6 } from 'node:net'
import { RateLimiterPostgres, RateLimiterRes } from 'rate-limiter-flexible'
import { hasSignedInFrom } from '../../db/audit/sessions.ts'
import type { Database } from '../../db/connection/connect.ts'
import { AuthError } from '../errors.ts'
import { createWindowCounter } from './window-counter.ts'

/** Rate limits, counted in Postgres so that they hold across processes. */
export type Limits = {
  /**
   * Counts a password check before it is made, so that parallel guesses are counted too.
   *
   * @param attempt.userId null for an unknown user
   * @throws {AuthError} `too_many_attempts` with the seconds to wait
   */
  beforePassword(attempt: PasswordAttempt): Promise<void>
  /**
   * Call when the password was right: forgets the failed guesses for this account from this network, and
   * takes this check out of the other counts.
   */
  afterRightPassword(attempt: PasswordAttempt): Promise<void>
  /** @throws {AuthError} `too_many_attempts` */
  beforeRegistration(ip: string | null): Promise<void>
  /**
   * Counts a refresh of this family, whether it succeeds or not. Costs a query only if this process has
   * seen the family unusually often in the current minute.
   *
   * @returns the error if the limit is exceeded; the caller must still report a reuse as a reuse
   */
  beforeRefresh(familyId: string): Promise<AuthError | null>
  /**
   * Counts how often a session ends all others of its user. Each time, the user's sign-ins in progress fail.
   *
   * @throws {AuthError} `too_many_attempts`
   */
  beforeEndingOthers(familyId: string): Promise<void>
}

export type PasswordAttempt = {
  /** Canonical, so that all spellings of an address share one count. */
  readonly email: string
  readonly userId: string | null
  readonly ip: string | null
}

const minute = 60

/** Ten guesses for one account from one network in a quarter of an hour: enough for typing mistakes. */
const accountAndNetwork = {
  keyPrefix: 'password-account-network',
  points: 10,
  duration: 15 * minute,
}

/** Guesses for one account from all networks: NIST SP 800-63B-4 §3.2.2 allows a hundred. */
const account = { keyPrefix: 'password-account', points: 100, duration: 60 * minute }

/** Guesses from one network for all accounts; high enough for an office behind one address. */
const network = { keyPrefix: 'password-network', points: 100, duration: 10 * minute }

/** A stolen access token must not keep its owner from signing in by ending all sessions again and again. */
const endingOthers = { keyPrefix: 'end-others-family', points: 10, duration: minute }

const registration = { keyPrefix: 'registration-network', points: 20, duration: 60 * minute }

/**
 * Refreshes of one family: 30 for tabs and tools that start at once, or two per lifetime of an access token
 * if that gives more.
 */
const refresh = (accessTokenMs: number) => ({
  keyPrefix: 'refresh-family',
  points: Math.max(30, Math.ceil((2 * minute * 1000) / accessTokenMs)),
  duration: minute,
})

/** Refreshes of a family per minute that one process answers before it counts them in Postgres. */
const uncountedRefreshes = 10

/** There is no limit for all callers together: the bounded queue of password hashing acts as one. */
export function createLimits(
  database: Database,
  { accessTokenMs }: { readonly accessTokenMs: number },
): Limits {
  const store = limitStore(database)
  const byAccountAndNetwork = new RateLimiterPostgres({ ...store, ...accountAndNetwork })
  const byAccount = new RateLimiterPostgres({ ...store, ...account })
  const byNetwork = new RateLimiterPostgres({ ...store, ...network })
  const registrations = new RateLimiterPostgres({ ...store, ...registration })
  const endsOfOthers = new RateLimiterPostgres({ ...store, ...endingOthers })
  const refreshLimit = refresh(accessTokenMs)
  const refreshes = new RateLimiterPostgres({
    ...store,
    ...refreshLimit,
    // Once the limit is reached, further calls are refused without a write.
    inMemoryBlockOnConsumed: refreshLimit.points,
  })
  const countHere = createWindowCounter(minute * 1000)

  return {
    async beforePassword({ email, userId, ip }) {
      await consume(byNetwork, networkOf(ip))
      await consume(byAccountAndNetwork, keyOf(email, networkOf(ip)))
      await consume(byAccount, keyOf(email)).catch(async (error: unknown) => {
        // Guesses from many networks must not lock the owner out where they have signed in before.
        const isKnownIp =
          userId !== null && ip !== null && (await hasSignedInFrom(database, userId, ip))
        if (!isKnownIp) throw error
      })
    },
    async afterRightPassword({ email, ip }) {
      await byAccountAndNetwork.delete(keyOf(email, networkOf(ip)))
      await byAccount.reward(keyOf(email), 1)
      await byNetwork.reward(networkOf(ip), 1)
    },
    beforeRegistration: (ip) => consume(registrations, networkOf(ip)),
    beforeRefresh: async (familyId) =>
      countHere(familyId) > uncountedRefreshes ? tooManyAttempts(refreshes, familyId) : null,
    beforeEndingOthers: (familyId) => consume(endsOfOthers, familyId),
  }
}

/** `RATE_LIMITS=off`, for benchmarks. */
export const noLimits: Limits = {
  beforePassword: async () => {},
  afterRightPassword: async () => {},
  beforeRegistration: async () => {},
  beforeRefresh: async () => null,
  beforeEndingOthers: async () => {},
}

/** Where limits are counted: for `RateLimiterPostgres`. */
export function limitStore(database: Database) {
  return {
    storeClient: clientOf(database),
    storeType: 'client',
    schemaName: 'token_ledger',
    tableName: 'rate_limit',
    tableCreated: true,
    // The library would scan the table: see stale-counts.ts.
    clearExpiredByTimeout: false,
  }
}

/** @throws {AuthError} `too_many_attempts` */
export async function consume(
  limiter: RateLimiterPostgres,
  key: string,
  points = 1,
): Promise<void> {
  const refusal = await tooManyAttempts(limiter, key, points)
  if (refusal !== null) throw refusal
}

async function tooManyAttempts(
  limiter: RateLimiterPostgres,
  key: string,
  points = 1,
): Promise<AuthError | null> {
  try {
    await limiter.consume(key, points)
    return null
  } catch (error) {
    if (!(error instanceof RateLimiterRes)) throw error
    return new AuthError('too_many_attempts', `${limiter.keyPrefix} limit reached`, {
      retryAfterSeconds: Math.max(1, Math.ceil(error.msBeforeNext / 1000)),
    })
  }
}

/** The IPv4 address, or the /64 of an IPv6 address: one customer usually has a whole /64. */
export function networkOf(ip: string | null): string {
  if (ip === null || !isIPv6(ip)) return ip ?? 'unknown'
  const [left = [], right = []] = ip.split('::').map((half) => half.split(':').filter(Boolean))
  const zeros = Array.from({ length: 8 - left.length - right.length }, () => '0')
  const groups = [...left, ...zeros, ...right].slice(0, 4)
  return groups.map((group) => Number.parseInt(group, 16).toString(16)).join(':')
}

/** A hash, so that the table of limits holds no e-mail addresses. */
function keyOf(...parts: string[]): string {
  return createHash('sha256').update(parts.join('\n')).digest('base64url')
}

/** The library expects a `pg` client; this is the part of its interface that it uses. */
function clientOf({ transactions: sql }: Database) {
  return {
    async query({ text, values }: { text: string; values: (string | number | null)[] }) {
      return { rows: await sql.unsafe(text, values, { prepare: true }) }
    },
  }
}
