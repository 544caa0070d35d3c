import { createHash } from 'node:crypto'
import { isIPv6 } from 'node:net'
import { RateLimiterPostgres, RateLimiterRes } from 'rate-limiter-flexible'
import { hasSignedInFrom } from '../../db/audit/sessions.ts'
import type { Database } from '../../db/connection/connect.ts'
import { AuthError } from '../errors.ts'

/** Limits that hold across processes: they are counted in Postgres, each call by itself. */
export type Limits = {
  /**
   * Counts a password check before it is made, so that guesses sent at once are counted, too.
   *
   * @param attempt.userId whose password it would be; null when there is no such user
   * @throws {AuthError} `too_many_attempts` with the seconds to wait
   */
  beforePassword(attempt: PasswordAttempt): Promise<void>
  /** The password was right: the guesses from this network are forgotten. */
  afterRightPassword(attempt: PasswordAttempt): Promise<void>
  /** @throws {AuthError} `too_many_attempts` */
  beforeRegistration(ip: string | null): Promise<void>
  /**
   * Counts a refresh of this family, whatever comes of it. Costs a query only where this process has
   * seen the family more often than anybody needs.
   *
   * @returns `too_many_attempts` when it is one too many; that must not hide a reuse
   */
  beforeRefresh(familyId: string): Promise<AuthError | null>
  /**
   * Counts what a session does to all others of its user: each time, the sign-ins that have begun fail.
   *
   * @throws {AuthError} `too_many_attempts`
   */
  beforeEndingOthers(familyId: string): Promise<void>
}

export type PasswordAttempt = {
  /** Canonical, so that every spelling of an address counts as one. */
  readonly email: string
  readonly userId: string | null
  readonly ip: string | null
}

const minute = 60

/** Ten guesses from one place, then a quarter of an hour of rest: more than anybody's typing mistakes. */
const accountAndNetwork = {
  keyPrefix: 'password-account-network',
  points: 10,
  duration: 15 * minute,
}

/** Guesses from everywhere: NIST SP 800-63B-4 §3.2.2 allows a hundred. */
const account = { keyPrefix: 'password-account', points: 100, duration: 60 * minute }

/** One place that tries many accounts; high enough for an office behind one address. */
const network = { keyPrefix: 'password-network', points: 100, duration: 10 * minute }

/** Nobody has so many others; whoever has stolen an access token would keep the owner from signing in. */
const endingOthers = { keyPrefix: 'end-others-family', points: 10, duration: minute }

const registration = { keyPrefix: 'registration-network', points: 20, duration: 60 * minute }

/**
 * Refreshes of one family: tabs and tools that all start at once, or two for each life of an access
 * token, however short that is set.
 */
const refresh = (accessTokenMs: number) => ({
  keyPrefix: 'refresh-family',
  points: Math.max(30, Math.ceil((2 * minute * 1000) / accessTokenMs)),
  duration: minute,
})

/** Refreshes of a family in a minute that a process answers before it counts with the others. */
const uncountedRefreshes = 10

/** All in all there is no limit of ours: the bounded queue of password hashing is one. */
export function createLimits(
  database: Database,
  { accessTokenMs }: { readonly accessTokenMs: number },
): Limits {
  const store = {
    storeClient: clientOf(database),
    storeType: 'client',
    schemaName: 'token_ledger',
    tableName: 'rate_limit',
    tableCreated: true,
  }
  const byAccountAndNetwork = new RateLimiterPostgres({ ...store, ...accountAndNetwork })
  const byAccount = new RateLimiterPostgres({ ...store, ...account })
  const byNetwork = new RateLimiterPostgres({ ...store, ...network })
  const registrations = new RateLimiterPostgres({ ...store, ...registration })
  const endsOfOthers = new RateLimiterPostgres({ ...store, ...endingOthers })
  const refreshLimit = refresh(accessTokenMs)
  const refreshes = new RateLimiterPostgres({
    ...store,
    ...refreshLimit,
    // What is used up is not written again with every call of a flood.
    inMemoryBlockOnConsumed: refreshLimit.points,
  })
  const countHere = createMinuteCounter()

  return {
    async beforePassword({ email, userId, ip }) {
      await consume(byNetwork, networkOf(ip))
      await consume(byAccountAndNetwork, keyOf(email, networkOf(ip)))
      await consume(byAccount, keyOf(email)).catch(async (error: unknown) => {
        // Somebody guesses from many places. That must not keep the owner out at home.
        const isAtHome =
          userId !== null && ip !== null && (await hasSignedInFrom(database, userId, ip))
        if (!isAtHome) throw error
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

/**
 * How often a family was seen in this minute, never too few: two that end alike are counted together,
 * so that a million families take a megabyte. Nobody is refused by this count alone.
 */
function createMinuteCounter(): (familyId: string) => number {
  const digits = 5
  const counts = new Uint8Array(16 ** digits)
  let endsAt = 0
  return (familyId) => {
    const now = performance.now()
    if (now >= endsAt) {
      counts.fill(0)
      endsAt = now + minute * 1000
    }
    // The end of a UUIDv7 is random.
    const place = Number.parseInt(familyId.slice(-digits), 16)
    const seen = Math.min(255, (counts[place] ?? 0) + 1)
    counts[place] = seen
    return seen
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

async function consume(limiter: RateLimiterPostgres, key: string): Promise<void> {
  const refusal = await tooManyAttempts(limiter, key)
  if (refusal !== null) throw refusal
}

async function tooManyAttempts(
  limiter: RateLimiterPostgres,
  key: string,
): Promise<AuthError | null> {
  try {
    await limiter.consume(key)
    return null
  } catch (error) {
    if (!(error instanceof RateLimiterRes)) throw error
    return new AuthError('too_many_attempts', `${limiter.keyPrefix} is used up`, {
      retryAfterSeconds: Math.max(1, Math.ceil(error.msBeforeNext / 1000)),
    })
  }
}

/** An IPv6 customer has a whole /64: its addresses are one place. */
export function networkOf(ip: string | null): string {
  if (ip === null || !isIPv6(ip)) return ip ?? 'unknown'
  const [left = [], right = []] = ip.split('::').map((half) => half.split(':').filter(Boolean))
  const zeros = Array.from({ length: 8 - left.length - right.length }, () => '0')
  const groups = [...left, ...zeros, ...right].slice(0, 4)
  return groups.map((group) => Number.parseInt(group, 16).toString(16)).join(':')
}

/** Not the address itself: a table of limits need not know who somebody tried to be. */
function keyOf(...parts: string[]): string {
  return createHash('sha256').update(parts.join('\n')).digest('base64url')
}

/** The library speaks to a `pg` client: this is as much of one as it uses. */
function clientOf({ transactions: sql }: Database) {
  return {
    async query({ text, values }: { text: string; values: (string | number | null)[] }) {
      return { rows: await sql.unsafe(text, values, { prepare: true }) }
    },
  }
}
