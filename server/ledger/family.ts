import {
  isSuccession,
  type Issued,
  type LedgerEvent,
  type ReuseDetected,
  type RevocationReason,
  type Revoked,
  type Succession,
} from './events.ts'

/** The statuses of a session in SQL's view `token_audit.sessions`. */
export const sessionStatuses = ['active', 'expired', 'revoked', 'reuse_detected'] as const

export type SessionStatus = (typeof sessionStatuses)[number]

/** The end reasons in that view. */
export type EndReason = 'expired' | 'reuse_detected' | RevocationReason

/** The state of one token family. Folded from its events, never stored. */
export type Family = {
  /** The event that made the current token. */
  readonly current: Issued | Succession
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
 * @throws {Error} if the events do not follow one another, or start with one that made no token
 */
export function foldFamily(events: readonly LedgerEvent[]): Family {
  const [first, ...rest] = events
  if (first === undefined) throw new Error('ledger corrupt: a family without events')
  return rest.reduce(evolve, begin(first))
}

function begin(first: LedgerEvent): Family {
  if (first.kind !== 'issued' && !isSuccession(first))
    throw new Error(`ledger corrupt: a history that starts with ${first.kind}`)
  const { seq: lastSeq, at: lastAt } = first
  return { current: first, replays: 0, lastSeq, lastAt, end: null }
}

/** The family after `event`. */
export function evolve(family: Family, event: LedgerEvent): Family {
  if (event.seq !== family.lastSeq + 1 || family.end !== null)
    throw new Error(`ledger corrupt: ${event.kind} ${event.seq} after ${family.lastSeq}`)
  const { generation } = family.current
  if (event.generation !== (isSuccession(event) ? generation + 1 : generation))
    throw new Error(`ledger corrupt: ${event.kind} at ${event.generation} after ${generation}`)
  const next = { ...family, lastSeq: event.seq, lastAt: event.at }
  switch (event.kind) {
    case 'issued':
      throw new Error('ledger corrupt: a second issued event in a family')
    case 'rotated':
    case 'reauthenticated':
      return { ...next, current: event, replays: 0 }
    case 'replayed':
      return { ...next, replays: family.replays + 1 }
    case 'reuse_detected':
    case 'revoked':
      return { ...next, end: event }
  }
}

/** What made the generations after `generation`, as far as these events have it; oldest first. */
export function successionsSince(generation: number, events: readonly LedgerEvent[]): Succession[] {
  return events.filter(isSuccession).filter((event) => event.generation > generation)
}

/** When the family expires. */
export function expiryOf({ current }: Family): number {
  return Math.min(current.expiresAt, current.absoluteExpiresAt)
}

/** Whether the family has neither ended nor expired at `now`. */
export function isActive(family: Family, now: number): boolean {
  return family.end === null && now < expiryOf(family)
}
