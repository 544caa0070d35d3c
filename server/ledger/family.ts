import type {
  Issued,
  LedgerEvent,
  ReuseDetected,
  RevocationReason,
  Revoked,
  Rotated,
} from './events.ts'

/** The statuses of a session in SQL's view `token_audit.sessions`. */
export const sessionStatuses = ['active', 'expired', 'revoked', 'reuse_detected'] as const

export type SessionStatus = (typeof sessionStatuses)[number]

/** The end reasons in that view. */
export type EndReason = 'expired' | 'reuse_detected' | RevocationReason

/** The state of one token family. Folded from its events, never stored. */
export type Family = {
  /** The event that made the current token. */
  readonly current: Issued | Rotated
  /** How often the current token was given out again. */
  readonly replays: number
  readonly lastSeq: number
  readonly lastAt: number
  /** The event that ended the family; null if none did. The family may have expired all the same. */
  readonly end: ReuseDetected | Revoked | null
}

/**
 * Folds the events of a family, oldest first: all of them, or only those from the event that made the current
 * token on. Both give the same family.
 *
 * @throws {Error} if the events do not follow one another, or start with neither `issued` nor `rotated`
 */
export function foldFamily(events: readonly LedgerEvent[]): Family {
  const [first, ...rest] = events
  if (first === undefined) throw new Error('ledger corrupt: a family without events')
  return rest.reduce(evolve, begin(first))
}

function begin(first: LedgerEvent): Family {
  if (first.kind !== 'issued' && first.kind !== 'rotated')
    throw new Error(`ledger corrupt: a history that starts with ${first.kind}`)
  return { current: first, replays: 0, lastSeq: first.seq, lastAt: first.at, end: null }
}

/** The family after `event`. */
export function evolve(family: Family, event: LedgerEvent): Family {
  if (event.seq !== family.lastSeq + 1 || family.end !== null)
    throw new Error(`ledger corrupt: ${event.kind} ${event.seq} after ${family.lastSeq}`)
  const { generation } = family.current
  if (event.generation !== (event.kind === 'rotated' ? generation + 1 : generation))
    throw new Error(`ledger corrupt: ${event.kind} at ${event.generation} after ${generation}`)
  const next = { ...family, lastSeq: event.seq, lastAt: event.at }
  switch (event.kind) {
    case 'issued':
      throw new Error('ledger corrupt: a second issued event in a family')
    case 'rotated':
      return { ...next, current: event, replays: 0 }
    case 'replayed':
      return { ...next, replays: family.replays + 1 }
    case 'reuse_detected':
    case 'revoked':
      return { ...next, end: event }
  }
}

/** The rotations to the generations after `generation`, as far as these events have them; oldest first. */
export function rotationsSince(generation: number, events: readonly LedgerEvent[]): Rotated[] {
  return events.filter(
    (event): event is Rotated => event.kind === 'rotated' && event.generation > generation,
  )
}

/** When the family expires. */
export function expiryOf({ current }: Family): number {
  return Math.min(current.expiresAt, current.absoluteExpiresAt)
}

/** Whether the family has neither ended nor expired at `now`. */
export function isActive(family: Family, now: number): boolean {
  return family.end === null && now < expiryOf(family)
}
