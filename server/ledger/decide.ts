import type {
  LedgerEvent,
  ReplayReason,
  RevocationReason,
  Revoked,
  Rotated,
  Transport,
} from './events.ts'
import { expiryOf, isActive, type Family } from './family.ts'

/** Why a refresh was refused; each is a reason in docs/reference/http.md. */
export type Refusal =
  | 'refresh_token_malformed'
  | 'transport_mismatch'
  | 'session_revoked'
  | 'session_expired'
  | 'refresh_token_reused'
  | 'too_many_attempts'

/** What to append, and whether the caller is turned away. A refusal may still append. */
export type Decision = { readonly event: LedgerEvent | null; readonly refusal: Refusal | null }

export type RotateToken = {
  readonly presented: {
    readonly generation: number
    /** The secret is the one that the ledger's hash of this generation was made of. */
    readonly isIssued: boolean
    readonly transport: Transport
    readonly attemptHash: Uint8Array | null
  }
  /** How the family's token travels, as written when it was born. */
  readonly transport: Transport
  /** The user exists and is not disabled. */
  readonly userMayRefresh: boolean
  /** The successor the presented token would get, made ready. */
  readonly next: { readonly tokenHash: Uint8Array; readonly salt: Uint8Array }
  readonly now: number
  readonly policy: RotationPolicy
}

export type RotationPolicy = { readonly graceMs: number; readonly idleMs: number }

/** A client that needs more than this is broken, and each one is a row. */
const maxReplays = 20

/**
 * Decides one presentation of an authentic refresh token: the first rule of docs/reference/rotation.md that applies.
 *
 * A spent token ends the whole family, because nobody can tell the thief from the owner; but the
 * direct predecessor gets the same successor again when it is the same attempt, or within the grace
 * window of the first rotation. So a lost answer costs nothing, and no chain is ever forked.
 *
 * @see {@link https://www.rfc-editor.org/rfc/rfc9700.html#section-4.14.2 RFC 9700 §4.14.2}
 * @see OWASP ASVS 5.0, 10.4.5 (rotation and reuse) and 10.4.8 (absolute expiration)
 */
export function decideRotation(family: Family, command: RotateToken): Decision {
  const { presented, now, policy } = command
  const { generation } = family.current

  if (presented.generation <= generation && !presented.isIssued)
    return refuse('refresh_token_malformed')
  if (presented.transport !== command.transport) return refuse('transport_mismatch')
  if (family.end !== null) return refuse(refusalOf(family.end))
  // Of a future that a restored backup does not know.
  if (presented.generation > generation) return refuse('session_revoked')
  if (now >= expiryOf(family)) return refuse('session_expired')
  if (!command.userMayRefresh) return refuse('session_revoked')

  if (presented.generation === generation) return { event: rotate(family, command), refusal: null }

  const replay = replayReason(family, presented, now - policy.graceMs)
  if (replay === null)
    return { event: detectReuse(family, command), refusal: 'refresh_token_reused' }
  if (family.replays >= maxReplays) return refuse('too_many_attempts')
  return {
    event: {
      kind: 'replayed',
      ...after(family, now),
      presentedGeneration: presented.generation,
      attemptHash: presented.attemptHash,
      reason: replay,
    },
    refusal: null,
  }
}

/** The reason a caller is given for a family that is over. */
export function refusalOf(end: NonNullable<Family['end']>): Refusal {
  return end.kind === 'reuse_detected' ? 'refresh_token_reused' : 'session_revoked'
}

/** Ends a family on purpose; null when it is over or has expired already. */
export function decideRevocation(
  family: Family,
  command: {
    readonly reason: RevocationReason
    readonly actorUserId: string | null
    readonly now: number
  },
): Revoked | null {
  if (!isActive(family, command.now)) return null
  const { reason, actorUserId, now } = command
  return { kind: 'revoked', ...after(family, now), reason, actorUserId }
}

function rotate(family: Family, { presented, next, now, policy }: RotateToken): Rotated {
  const { generation, absoluteExpiresAt } = family.current
  return {
    kind: 'rotated',
    ...after(family, now),
    generation: generation + 1,
    tokenHash: next.tokenHash,
    salt: next.salt,
    attemptHash: presented.attemptHash,
    // Sliding, but never past the family's absolute end.
    expiresAt: Math.min(now + policy.idleMs, absoluteExpiresAt),
    absoluteExpiresAt,
  }
}

/** The rule that lets the direct predecessor of the current token in again; null when none does. */
function replayReason(
  { current }: Family,
  presented: RotateToken['presented'],
  graceBeganAt: number,
): ReplayReason | null {
  if (current.kind !== 'rotated' || presented.generation !== current.generation - 1) return null
  if (isSameAttempt(presented.attemptHash, current.attemptHash)) return 'same_attempt'
  return current.at > graceBeganAt ? 'grace_window' : null
}

function detectReuse(family: Family, { presented, now }: RotateToken): LedgerEvent {
  return {
    kind: 'reuse_detected',
    ...after(family, now),
    presentedGeneration: presented.generation,
  }
}

function after(family: Family, now: number) {
  return { seq: family.lastSeq + 1, generation: family.current.generation, at: now }
}

/** Hashes of random ids: comparing them byte by byte tells a guesser nothing. */
function isSameAttempt(one: Uint8Array | null, other: Uint8Array | null): boolean {
  return one !== null && other !== null && one.every((byte, i) => byte === other[i])
}

function refuse(refusal: Refusal): Decision {
  return { event: null, refusal }
}
