/**
 * The facts the ledger records, one stream a token family. Past tense, never changed.
 *
 * Instants (`…At`, `at`) are epoch milliseconds of the database's clock. Tokens appear only as
 * SHA-256 of their secret (32 bytes).
 */
export type LedgerEvent = Issued | Rotated | Replayed | ReuseDetected | Revoked

export type Issued = {
  readonly kind: 'issued'
  readonly seq: number
  readonly generation: number
  readonly at: number
  readonly userId: string
  readonly transport: Transport
  readonly tokenHash: Uint8Array
  /** When the token expires if it is not used. */
  readonly expiresAt: number
  /** When the family ends however active it is (OWASP ASVS 5.0, 10.4.8). */
  readonly absoluteExpiresAt: number
}

export type Rotated = {
  readonly kind: 'rotated'
  readonly seq: number
  readonly generation: number
  readonly at: number
  readonly tokenHash: Uint8Array
  /** What the successor was derived with (16 bytes), so that a retry can be given it again. */
  readonly salt: Uint8Array
  readonly attemptHash: Uint8Array | null
  readonly expiresAt: number
  readonly absoluteExpiresAt: number
}

/** A spent token came back and was given the same successor again. */
export type Replayed = {
  readonly kind: 'replayed'
  readonly seq: number
  readonly generation: number
  readonly at: number
  readonly presentedGeneration: number
  readonly attemptHash: Uint8Array | null
  readonly reason: ReplayReason
}

/** A spent token came back and no replay rule covered it. The family is over. */
export type ReuseDetected = {
  readonly kind: 'reuse_detected'
  readonly seq: number
  readonly generation: number
  readonly at: number
  readonly presentedGeneration: number
}

/** The family was ended on purpose. */
export type Revoked = {
  readonly kind: 'revoked'
  readonly seq: number
  readonly generation: number
  readonly at: number
  readonly reason: RevocationReason
  /** Whose act it was; null when it was the service's own. */
  readonly actorUserId: string | null
}

export type Transport = 'cookie' | 'body'

export type ReplayReason = 'same_attempt' | 'grace_window'

export type RevocationReason =
  | 'logout'
  | 'logout_everywhere'
  | 'user_revoked'
  | 'admin_revoked'
  | 'password_changed'
  | 'user_disabled'
  | 'reuse_elsewhere'
  | 'session_limit'
