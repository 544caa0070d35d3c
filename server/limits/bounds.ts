/** At most `points` in `durationMs`. The name begins the keys in the table of counts, and is logged. */
export type Bound = {
  readonly name: string
  readonly points: number
  readonly durationMs: number
}

const second = 1_000
const minute = 60 * second
const hour = 60 * minute

/** Ten guesses for one account from one network in a quarter of an hour: enough for typing mistakes. */
export const accountAndNetwork: Bound = {
  name: 'password-account-network',
  points: 10,
  durationMs: 15 * minute,
}

/** Guesses for one account from all networks: NIST SP 800-63B-4 §3.2.2 allows a hundred. */
export const account: Bound = { name: 'password-account', points: 100, durationMs: hour }

/** Guesses with a refresh token of the account, which a device of its owner has, and perhaps a thief. */
export const device: Bound = { name: 'password-device', points: 10, durationMs: 15 * minute }

/**
 * Sign-ins and password changes of one account with the right password. A script that signs in every five
 * minutes stays below both; each sign-in costs a hash and rows that are kept for good.
 */
export const rightPasswords: readonly Bound[] = [
  { name: 'right-password', points: 30, durationMs: 10 * minute },
  { name: 'right-password-day', points: 300, durationMs: 24 * hour },
]

/** Sessions of one user that sign-ins of the team's own start: as many as right passwords do. */
export const provedSignIns: readonly Bound[] = [
  { name: 'sign-in', points: 30, durationMs: 10 * minute },
  { name: 'sign-in-day', points: 300, durationMs: 24 * hour },
]

/** Bounds of an IPv4 address or an IPv6 /64, of a /56 and of a /48. */
export type NetworkBounds = readonly [Bound, Bound, Bound]

/**
 * Wrong passwords from one network for all accounts; high enough for an office behind one address. One
 * subscriber often has a /56 or a /48, but so have many phones together: the bounds rise.
 */
export const passwordsOfNetwork: NetworkBounds = [
  { name: 'password-network', points: 100, durationMs: 10 * minute },
  { name: 'password-network-56', points: 200, durationMs: 10 * minute },
  { name: 'password-network-48', points: 400, durationMs: 10 * minute },
]

export const registrationsOfNetwork: NetworkBounds = [
  { name: 'registration-network', points: 20, durationMs: hour },
  { name: 'registration-network-56', points: 40, durationMs: hour },
  { name: 'registration-network-48', points: 80, durationMs: hour },
]

/**
 * Answers in a second, of one process, that refuse an IPv4 address or an IPv6 /64, a /56, and a /48. An office whose
 * clients have all lost their sessions at once stays below.
 */
export const refusalsOfNetwork = [100, 200, 400] as const

/** A stolen access token must not keep its owner from signing in by ending all sessions again and again. */
export const endingOthers: Bound = { name: 'end-others-family', points: 10, durationMs: minute }

export type Lifetimes = { readonly accessTokenMs: number; readonly maxSessionsPerUser: number }

/**
 * Refreshes of one family: 30 for tabs and tools that start at once, or two per lifetime of an access token
 * if that gives more.
 */
export const refreshesOfFamily = ({ accessTokenMs }: Lifetimes): Bound => ({
  name: 'refresh-family',
  points: Math.max(30, Math.ceil((2 * minute) / accessTokenMs)),
  durationMs: minute,
})

/** Refreshes of a family per minute that one process answers before it counts them in Postgres. */
export const uncountedRefreshes = 10

/**
 * Refreshes of one user in one process, over all families: three for each of a hundred sessions that start
 * at once, or two per lifetime of an access token for every session if that gives more.
 */
export const refreshesOfUser = ({ accessTokenMs, maxSessionsPerUser }: Lifetimes): Bound => ({
  name: 'refresh-user',
  points: Math.max(300, maxSessionsPerUser * Math.ceil((2 * minute) / accessTokenMs)),
  durationMs: minute,
})

/**
 * Rows that one user adds to the ledger in an hour, in one process, before an operator should look: more
 * than two per lifetime of an access token for every session the user may have.
 */
export const ledgerRowsOfUser = ({ accessTokenMs, maxSessionsPerUser }: Lifetimes): Bound => ({
  name: 'ledger-rows-user',
  points: Math.max(2_000, maxSessionsPerUser * Math.ceil((2 * hour) / accessTokenMs)),
  durationMs: hour,
})

/**
 * Of a bound of calls, a process answers the first `free` without a query. Then it counts all further ones for all
 * processes together.
 */
export type CallBound = { readonly free: number; readonly bound: Bound }

/**
 * A page makes ten or twenty calls as it opens: a session may open six tabs in the same second, and a user two
 * browsers.
 */
export const callsOfSession: CallBound = {
  free: 60,
  bound: { name: 'calls-session', points: 60, durationMs: 10 * second },
}

export const callsOfUser: CallBound = {
  free: 120,
  bound: { name: 'calls-user', points: 120, durationMs: 10 * second },
}
