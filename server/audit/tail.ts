import { setTimeout as sleep } from 'node:timers/promises'
import { readForward, readHorizon, type ListedEvent, type Position } from '../../db/audit/events.ts'
import type { Statements } from '../../db/connection/connect.ts'
import { AuthError } from '../errors.ts'

/** How often each open tail polls: roughly how soon an event appears after its commit. */
const pollMs = 300

/** Events per read. A tail that is behind reads the next page without a pause. */
const pageSize = 500

/** Each open tail queries the database three times a second, so their number is limited. */
export const maxTailsPerUser = 5

/** The open streams of one kind: live tails, or verifications. */
export type Tails = {
  /**
   * Takes a slot for one more stream of this user.
   *
   * @returns `release` frees the slot; `closing` is aborted when the service closes
   * @throws {AuthError} `too_many_attempts`
   */
  take(userId: string): { readonly closing: AbortSignal; release(): void }
  /** How many streams of all users are open. */
  open(): number
  /** Ends every stream. */
  close(): void
}

/** Counts the open streams of this process. */
export function createTails(maxPerUser: number): Tails {
  const openOf = new Map<string, number>()
  const closing = new AbortController()
  return {
    take(userId) {
      const open = openOf.get(userId) ?? 0
      if (open >= maxPerUser)
        throw new AuthError('too_many_attempts', `${open} streams are open`, {
          retryAfterSeconds: 60,
          problem: `A user may have at most ${maxPerUser} of these streams open.`,
        })
      openOf.set(userId, open + 1)
      let isTaken = true
      return {
        closing: closing.signal,
        release() {
          if (!isTaken) return
          isTaken = false
          const left = (openOf.get(userId) ?? 1) - 1
          if (left === 0) openOf.delete(userId)
          else openOf.set(userId, left)
        },
      }
    },
    open: () => [...openOf.values()].reduce((sum, open) => sum + open, 0),
    close: () => closing.abort(),
  }
}

/**
 * Every event after `after`, once, in the order of the ledger, as soon as it is final; every event from
 * now on if `after` is null. Ends when `signal` is aborted.
 *
 * @param options.check called before each read; an error it throws ends the tail
 */
export async function* followLedger(
  database: Statements,
  options: {
    after: Position | null
    signal: AbortSignal
    check?: () => Promise<void>
  },
): AsyncGenerator<ListedEvent, void> {
  const { signal, check } = options
  let position = options.after ?? (await readHorizon(database))
  while (!signal.aborted) {
    await check?.()
    const events = await readForward(database, position, pageSize)
    for (const event of events) {
      yield event
      position = event.position
    }
    if (events.length < pageSize)
      await sleep(pollMs, undefined, { signal, ref: false }).catch(() => {})
  }
}
