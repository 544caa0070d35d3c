import type {
  Issued,
  LedgerEvent,
  ReuseDetected,
  RevocationReason,
  Revoked,
  Rotated,
} from './events.ts'

/** What SQL's view `token_audit.sessions` calls the state of a family. */
export const sessionStatuses = ['active', 'expired', 'revoked', 'reuse_detected'] as const

export type SessionStatus = (typeof sessionStatuses)[number]

/** Why a session ended, as that view says it. */
export type EndReason = 'expired' | 'reuse_detected' | RevocationReason

/** What the ledger says about one token family. Derived by folding, never stored. */
export type Family = {
  /** The event that made the current token. */
  readonly current: Issued | Rotated
  /** How often the current token was handed out again. */
  readonly replays: number
  readonly lastSeq: number
  readonly lastAt: number
  /** The event that ended the family; null while it is not over. It may still have expired. */
  readonly end: ReuseDetected | Revoked | null
}

/**
 * Folds a family's history, oldest first: the whole of it, or its tail from the event that made the
 * current token on. Both give the same family.
 *
 * @throws {Error} when the events are no history, or begin with neither `issued` nor `rotated`
 */
export function foldFamily(events: readonly LedgerEvent[]): Family {
  const [first, ...rest] = events
  if (first === undefined) throw new Error('ledger corrupt: a family without events')
  return rest.reduce(evolve, begin(first))
}

function begin(first: LedgerEvent): Family {
  if (first.kind !== 'issued' && first.kind !== 'rotated')
    throw new Error(`ledger corrupt: a history that begins with ${first.kind}`)
  return { current: first, replays: 0, lastSeq: first.seq, lastAt: first.at, end: null }
}

/** The family once `event` has happened. */
export function evolve(family: Family, event: LedgerEvent): Family {
  if (event.seq !== family.lastSeq + 1 || family.end !== null)
    throw new Error(`ledger corrupt: ${event.kind} ${event.seq} after ${family.lastSeq}`)
  const { generation } = family.current
  if (event.generation !== (event.kind === 'rotated' ? generation + 1 : generation))
    throw new Error(`ledger corrupt: ${event.kind} at ${event.generation} after ${generation}`)
  const next = { ...family, lastSeq: event.seq, lastAt: event.at }
  switch (event.kind) {
    case 'issued':
      throw new Error('ledger corrupt: a family is issued once')
    case 'rotated':
      return { ...next, current: event, replays: 0 }
    case 'replayed':
      return { ...next, replays: family.replays + 1 }
    case 'reuse_detected':
    case 'revoked':
      return { ...next, end: event }
  }
}

/** When the family stops working by time alone. */
export function expiryOf({ current }: Family): number {
  return Math.min(current.expiresAt, current.absoluteExpiresAt)
}

/** Whether its newest token could be rotated at `now`. */
export function isActive(family: Family, now: number): boolean {
  return family.end === null && now < expiryOf(family)
}
