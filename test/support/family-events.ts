import type { Caller } from '../../server/ledger/caller.ts'
import type { RotateToken } from '../../server/ledger/decide.ts'
import type {
  Issued,
  LedgerEvent,
  Reauthenticated,
  Replayed,
  ReuseDetected,
  Revoked,
  Rotated,
} from '../../server/ledger/events.ts'
import type { Witnessed } from '../../server/ledger/sighting.ts'

/** Instants of a family that is issued at 0: small numbers, so that the edges are easy to read. */
export const idleMs = 1_000_000
export const absoluteMs = 2_500_000
export const graceMs = 10_000

/** Who makes every request, unless a test says otherwise. */
export const owner: Caller = { ip: '192.0.2.7', userAgent: 'browser' }

export const policy = { graceMs, idleMs, replaysElsewhere: 'warn' } as const

export const userId = '0190b5d2-0000-4000-8000-000000000001'

/** 32 bytes of one letter: hashes that are easy to tell apart. */
export function hashOf(letter: string): Uint8Array {
  return new Uint8Array(Buffer.alloc(32, letter))
}

export const nextHash = hashOf('n')
export const nextSalt = new Uint8Array(Buffer.alloc(16, 'n'))

export function issued(changes: Partial<Issued> = {}): Issued {
  return {
    kind: 'issued',
    seq: 1,
    generation: 0,
    at: 0,
    userId,
    transport: 'cookie',
    tokenHash: hashOf('0'),
    expiresAt: idleMs,
    absoluteExpiresAt: absoluteMs,
    authentication: { methods: ['pwd'], authenticatedAt: 0 },
    ...changes,
  }
}

/** The rotation to `generation`; without replays before it, its `seq` is generation + 1. */
export function rotated(generation: number, at: number, changes: Partial<Rotated> = {}): Rotated {
  return {
    kind: 'rotated',
    seq: generation + 1,
    generation,
    at,
    tokenHash: hashOf(String(generation)),
    salt: new Uint8Array(16),
    attemptHash: null,
    expiresAt: Math.min(at + idleMs, absoluteMs),
    absoluteExpiresAt: absoluteMs,
    authentication: { methods: ['pwd'], authenticatedAt: 0 },
    ...changes,
  }
}

/** As `rotated`, by a user who has proved again who they are. */
export function reauthenticated(
  generation: number,
  at: number,
  changes: Partial<Reauthenticated> = {},
): Reauthenticated {
  return {
    ...rotated(generation, at),
    kind: 'reauthenticated',
    authentication: { methods: ['pwd', 'otp'], authenticatedAt: at },
    ...changes,
  }
}

export function replayed(seq: number, at: number, changes: Partial<Replayed> = {}): Replayed {
  return {
    kind: 'replayed',
    seq,
    generation: 1,
    at,
    presentedGeneration: 0,
    attemptHash: null,
    reason: 'grace_window',
    ...changes,
  }
}

export function reuseDetected(
  seq: number,
  at: number,
  changes: Partial<ReuseDetected> = {},
): ReuseDetected {
  return { kind: 'reuse_detected', seq, generation: 1, at, presentedGeneration: 0, ...changes }
}

export function revoked(seq: number, at: number, changes: Partial<Revoked> = {}): Revoked {
  return {
    kind: 'revoked',
    seq,
    generation: seq - 2,
    at,
    reason: 'logout',
    actorUserId: userId,
    ...changes,
  }
}

/** These events as requests of the owner. */
export function byOwner(events: readonly LedgerEvent[]): Witnessed[] {
  return events.map((event) => ({ event, caller: owner }))
}

/** An authentic token of `generation` that is presented at `now`. */
export function present(
  generation: number,
  now: number,
  changes: Partial<RotateToken['presented'] & Omit<RotateToken, 'presented' | 'now'>> = {},
): RotateToken {
  const { isIssued = true, caller = owner, ...rest } = changes
  const { attemptHash = null, previousAttemptHashes = [], ...others } = rest
  return {
    transport: 'cookie',
    userMayRefresh: true,
    next: { tokenHash: nextHash, salt: nextSalt },
    policy,
    history: [],
    ...others,
    presented: {
      generation,
      isIssued,
      transport: 'cookie',
      attemptHash,
      previousAttemptHashes,
      caller,
    },
    now,
  }
}

/** The same token, presented in the body instead of the family's own transport. */
export function presentInBody(generation: number, now: number): RotateToken {
  const command = present(generation, now)
  return { ...command, presented: { ...command.presented, transport: 'body' } }
}
