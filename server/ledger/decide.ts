import { mayBeSameClient, type Caller } from './caller.ts'
import {
  maxReplays,
  type Authentication,
  type LedgerEvent,
  type ReplayReason,
  type ReuseDetected,
  type RevocationReason,
  type Revoked,
  type Succession,
  type Transport,
} from './events.ts'
import { expiryOf, isActive, successionsSince, type Family } from './family.ts'
import { sightReplay, type Sighting, type Witnessed } from './sighting.ts'

/** Why a refresh was refused; each is a reason in docs/reference/http.md. */
export type Refusal =
  | 'refresh_token_malformed'
  | 'transport_mismatch'
  | 'session_revoked'
  | 'session_expired'
  | 'refresh_token_reused'
  | 'too_many_attempts'

/** The event to append, and the refusal if there is one. A refusal can come with an event. */
export type Decision = {
  readonly event: LedgerEvent | null
  readonly refusal: Refusal | null
  /** Of a replay. */
  readonly sighting?: Sighting
}

export type RotateToken = {
  readonly presented: {
    readonly generation: number
    /** Whether its secret matches the hash that the ledger has for this generation. */
    readonly isIssued: boolean
    readonly transport: Transport
    readonly attemptHash: Uint8Array | null
    /** Of attempts that the client made before this one. Only those of a spent token are looked at. */
    readonly previousAttemptHashes: readonly Uint8Array[]
    readonly caller: Caller
  }
  /**
   * What `sightReplay` needs and, up to `maxPreviousAttempts` + 1, all rotations since the presented token. May be empty when the
   * current token is presented.
   */
  readonly history: readonly Witnessed[]
  /** The transport of the family, fixed at sign-in. */
  readonly transport: Transport
  /** Whether the user exists and is not disabled. */
  readonly userMayRefresh: boolean
  /** Set when the user has just proved again who they are: then the current token is replaced by this event. */
  readonly reauthentication?: Authentication
  /** The successor that a rotation would give, already derived. */
  readonly next: { readonly tokenHash: Uint8Array; readonly salt: Uint8Array }
  readonly now: number
  readonly policy: RotationPolicy
}

export type RotationPolicy = {
  readonly graceMs: number
  readonly idleMs: number
  /** What happens when generations in a row are replayed from elsewhere: see `sightReplay`. */
  readonly replaysElsewhere: 'warn' | 'end'
}

/**
 * Decides one presentation of an authentic refresh token: the first rule of docs/reference/rotation.md that applies.
 *
 * A spent token ends the whole family, because the thief and the owner cannot be distinguished. It is answered with
 * the current token instead if the client names the attempts of all rotations since, which it alone knows, or if it is
 * the direct predecessor and comes within the grace window from what may be the same client. There is no such window
 * after a reauthentication. A lost response, or a lost cookie, is therefore not mistaken for reuse, and a family never has two current tokens.
 *
 * @see {@link https://www.rfc-editor.org/rfc/rfc9700.html#section-4.14.2 RFC 9700 §4.14.2}
 * @see OWASP ASVS 5.0, 10.4.5 (rotation and reuse) and 10.4.8 (absolute expiration)
 */
export function decideRotation(family: Family, command: RotateToken): Decision {
  const { presented, now } = command
  const { generation } = family.current

  if (presented.generation <= generation && !presented.isIssued)
    return refuse('refresh_token_malformed')
  if (presented.transport !== command.transport) return refuse('transport_mismatch')
  if (family.end !== null) return refuse(refusalForEnd(family.end))
  // Newer than the ledger, which was restored from a backup.
  if (presented.generation > generation) return refuse('session_revoked')
  if (now >= expiryOf(family)) return refuse('session_expired')
  if (!command.userMayRefresh) return refuse('session_revoked')

  if (presented.generation === generation) return { event: succeed(family, command), refusal: null }

  const replay = findReplay(family, command)
  if (replay === null) {
    const event = detectReuse(family, presented.generation, now)
    return { event, refusal: 'refresh_token_reused' }
  }
  if (family.replays >= maxReplays) return refuse('too_many_attempts')
  return {
    event: {
      kind: 'replayed',
      ...after(family, now),
      presentedGeneration: presented.generation,
      attemptHash: presented.attemptHash,
      reason: replay.reason,
    },
    refusal: null,
    sighting: replay.sighting,
  }
}

/**
 * Decides a sign-out by an authentic token. The current token or its direct predecessor, which a client still has
 * after a lost answer, may end the session. An older one is a reuse, as it is at a refresh, and so is the predecessor
 * that a new authentication replaced.
 *
 * @returns `'sign_out'`, the reuse to append, or null when the token may end nothing or nothing is left to end
 */
export function decideSignOut(
  family: Family,
  presented: Pick<RotateToken['presented'], 'generation' | 'isIssued'>,
  now: number,
): 'sign_out' | ReuseDetected | null {
  const { generation } = presented
  const current = family.current.generation
  if (generation <= current && !presented.isIssued) return null
  if (!isActive(family, now)) return null
  const oldest = family.current.kind === 'reauthenticated' ? current : current - 1
  return generation < oldest ? detectReuse(family, generation, now) : 'sign_out'
}

/** The reason for a family that has ended. */
export function refusalForEnd(end: NonNullable<Family['end']>): Refusal {
  return end.kind === 'reuse_detected' ? 'refresh_token_reused' : 'session_revoked'
}

/** Revokes a family; null if it has already ended or expired. */
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

function succeed(
  family: Family,
  { presented, next, now, policy, reauthentication }: RotateToken,
): Succession {
  const { seq, generation, at } = after(family, now)
  const { absoluteExpiresAt, authentication } = family.current
  const successor = {
    seq,
    generation: generation + 1,
    at,
    tokenHash: next.tokenHash,
    salt: next.salt,
    attemptHash: presented.attemptHash,
    // Sliding, but never beyond the absolute expiry of the family.
    expiresAt: Math.min(now + policy.idleMs, absoluteExpiresAt),
    absoluteExpiresAt,
  }
  if (reauthentication === undefined) return { kind: 'rotated', authentication, ...successor }
  return { kind: 'reauthenticated', authentication: reauthentication, ...successor }
}

type Replay = { readonly reason: ReplayReason; readonly sighting: Sighting }

/** Why the token gets the same successor again; null if no replay rule applies. */
function findReplay({ current }: Family, command: RotateToken): Replay | null {
  const { presented, history, now, policy } = command
  const sighting = sightReplay(history, presented.caller)
  if (sighting.isRepeated && policy.replaysElsewhere === 'end') return null
  if (isByItsAttempts(presented, current.generation, history))
    return { reason: 'same_attempt', sighting }
  if (presented.generation !== current.generation - 1) return null
  if (current.kind === 'reauthenticated') return null
  const isInWindow = current.at > now - policy.graceMs
  if (!isInWindow || !mayBeSameClient(presented.caller, sighting.rotation)) return null
  return { reason: 'grace_window', sighting }
}

/** Whether the client names the attempt of each rotation since the token that it presents. */
function isByItsAttempts(
  { generation, attemptHash, previousAttemptHashes }: RotateToken['presented'],
  current: number,
  history: readonly Witnessed[],
): boolean {
  const rotations = successionsSince(
    generation,
    history.map(({ event }) => event),
  )
  const named = [attemptHash, ...previousAttemptHashes]
  return (
    rotations.length === current - generation &&
    rotations.every((rotation) => named.some((one) => isSameAttempt(one, rotation.attemptHash)))
  )
}

function detectReuse(family: Family, presentedGeneration: number, now: number): ReuseDetected {
  return { kind: 'reuse_detected', ...after(family, now), presentedGeneration }
}

function after(family: Family, now: number) {
  return { seq: family.lastSeq + 1, generation: family.current.generation, at: now }
}

/** These are hashes of random ids, so the timing of the comparison does not help to guess an id. */
export function isSameAttempt(one: Uint8Array | null, other: Uint8Array | null): boolean {
  return one !== null && other !== null && one.every((byte, i) => byte === other[i])
}

function refuse(refusal: Refusal): Decision {
  return { event: null, refusal }
}
