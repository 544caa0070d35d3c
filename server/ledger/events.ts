/**
 * The events of the ledger, one stream for each token family. An event is never changed.
 *
 * Instants (`…At`, `at`) are epoch milliseconds of the database's clock. Tokens appear only as the
 * SHA-256 of their secret (32 bytes).
 */
export type LedgerEvent = Issued | Rotated | Reauthenticated | Replayed | ReuseDetected | Revoked

export const eventKinds = [
  'issued',
  'rotated',
  'reauthenticated',
  'replayed',
  'reuse_detected',
  'revoked',
] as const

export type EventKind = (typeof eventKinds)[number]

/** A word for how a user proved who they are: a value of RFC 8176, or one of the service that asked the user. */
export const methodPattern = /^[A-Za-z0-9_.:/-]{1,50}$/
/** In one event. */
export const maxMethods = 10

/** How and when a user proved who they are. */
export type Authentication = {
  /** In the words of RFC 8176 (`amr`), or of the service that asked the user. Never empty. */
  readonly methods: readonly string[]
  readonly authenticatedAt: number
}

export type Issued = {
  readonly kind: 'issued'
  readonly seq: number
  readonly generation: number
  readonly at: number
  readonly userId: string
  readonly transport: Transport
  readonly tokenHash: Uint8Array
  /** When the token expires unless it is used. */
  readonly expiresAt: number
  /** When the family ends, however active it is (OWASP ASVS 5.0, 10.4.8). */
  readonly absoluteExpiresAt: number
  /** Null in events of versions that did not keep it. */
  readonly authentication: Authentication | null
}

export type Rotated = {
  readonly kind: 'rotated'
  readonly seq: number
  readonly generation: number
  readonly at: number
  readonly tokenHash: Uint8Array
  /** The successor was derived with these 16 bytes, so a retry can get the same one again. */
  readonly salt: Uint8Array
  readonly attemptHash: Uint8Array | null
  readonly expiresAt: number
  readonly absoluteExpiresAt: number
  /** That of the token that it replaces. Null as there, and in rotations of versions that did not keep it. */
  readonly authentication: Authentication | null
}

/**
 * The user proved again who they are, and the current token was replaced. Its predecessor is dead at once: no grace
 * window covers it (OWASP ASVS 5.0, 7.2.4).
 */
export type Reauthenticated = Omit<Rotated, 'kind' | 'authentication'> & {
  readonly kind: 'reauthenticated'
  readonly authentication: Authentication
}

/** A token was replaced by its successor, which is derived from it. */
export type Succession = Rotated | Reauthenticated

export function isSuccession(event: LedgerEvent): event is Succession {
  return event.kind === 'rotated' || event.kind === 'reauthenticated'
}

/** A spent token was presented again and got the same successor again. */
export type Replayed = {
  readonly kind: 'replayed'
  readonly seq: number
  readonly generation: number
  readonly at: number
  readonly presentedGeneration: number
  readonly attemptHash: Uint8Array | null
  readonly reason: ReplayReason
}

/** A spent token was presented again and no replay rule applied. The family is over. */
export type ReuseDetected = {
  readonly kind: 'reuse_detected'
  readonly seq: number
  readonly generation: number
  readonly at: number
  readonly presentedGeneration: number
}

/** A user, an admin or the service ended the family. */
export type Revoked = {
  readonly kind: 'revoked'
  readonly seq: number
  readonly generation: number
  readonly at: number
  readonly reason: RevocationReason
  /** The user or admin who ended it; null for the service and the command line. */
  readonly actorUserId: string | null
}

/** How the refresh token of a family travels. */
export type Transport = 'cookie' | 'body'

export const replayReasons = ['same_attempt', 'grace_window'] as const

export type ReplayReason = (typeof replayReasons)[number]

/**
 * How often the current token may be handed out again. A client that needs more is broken, and each
 * replay is a row. SQL's `check_families` has the same limit.
 */
export const maxReplays = 20

/**
 * How many rotations a replay may go back over, each of which the client names the attempt of: the one of this
 * request and `maxPreviousAttempts`. A browser writes its cookies half a minute late, and may rotate at each page load.
 */
export const maxPreviousAttempts = 20

export const revocationReasons = [
  'logout',
  'logout_everywhere',
  'user_revoked',
  'admin_revoked',
  'password_changed',
  'user_disabled',
  'reuse_elsewhere',
  'session_limit',
] as const

export type RevocationReason = (typeof revocationReasons)[number]
