import { isElsewhere, type Caller } from './caller.ts'
import { isSuccession, type LedgerEvent } from './events.ts'

/** An event, and the caller whose request it records. */
export type Witnessed = { readonly event: LedgerEvent; readonly caller: Caller }

/** A replay, compared with the rotation that it repeats. */
export type Sighting = {
  /** Who made that rotation. */
  readonly rotation: Caller
  /** Whether the replay comes from another network than that rotation. */
  readonly isElsewhere: boolean
  /** With this replay, `suspiciousGenerations` in a row were replayed from elsewhere. Once for each such row. */
  readonly isSuspicious: boolean
  /** The same, also for each further replay from elsewhere. */
  readonly isRepeated: boolean
}

/**
 * So many generations in a row that are replayed from elsewhere are a suspicion: a client that changed its network
 * between a request and its retry did so once, and a thief who keeps step with the owner does it every time. SQL's
 * `suspect_replay` has the same number.
 */
export const suspiciousGenerations = 3

/**
 * Compares a replay with the rotation that it repeats, and with the replays of the generations before.
 *
 * @param history the events of the current generation and of `suspiciousGenerations` before it, oldest first
 */
export function sightReplay(history: readonly Witnessed[], caller: Caller): Sighting {
  let rotation: Caller | null = null
  let isReplayedElsewhere = false
  // Generations in a row that were replayed from elsewhere, without the current one.
  let inARow = 0
  for (const witnessed of history) {
    const { event } = witnessed
    if (event.kind === 'issued' || isSuccession(event)) {
      inARow = isReplayedElsewhere ? inARow + 1 : 0
      isReplayedElsewhere = false
      rotation = witnessed.caller
    } else if (event.kind === 'replayed' && rotation !== null) {
      isReplayedElsewhere ||= isElsewhere(witnessed.caller, rotation)
    }
  }
  if (rotation === null) throw new Error('a replay without the rotation that it repeats')
  const isElsewhereNow = isElsewhere(caller, rotation)
  const before = suspiciousGenerations - 1
  return {
    rotation,
    isElsewhere: isElsewhereNow,
    isSuspicious: isElsewhereNow && !isReplayedElsewhere && inARow === before,
    isRepeated: isElsewhereNow && inARow >= before,
  }
}
