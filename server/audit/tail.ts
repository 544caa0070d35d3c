import { setTimeout as sleep } from 'node:timers/promises'
import type postgres from 'postgres'
import { readForward, readHorizon, type ListedEvent, type Position } from '../../db/audit/events.ts'
import { AuthError } from '../errors.ts'

/** How soon after its commit an event is seen; each open tail asks that often. */
const pollMs = 300

/** Events read at once. A tail that is behind reads on without a pause. */
const pageSize = 500

/** Each open tail asks the database three times a second: nobody needs more of them. */
const maxTailsPerUser = 5

export type Tails = {
  /**
   * A place for one more tail of this user.
   *
   * @returns how to give it back, and when to stop: this service is closing
   * @throws {AuthError} `too_many_attempts`
   */
  take(userId: string): { readonly closing: AbortSignal; release(): void }
  /** Everybody's, now. */
  open(): number
  /** Ends every tail. */
  close(): void
}

/** Counts open tails; those of this process. */
export function createTails(): Tails {
  const openOf = new Map<string, number>()
  const closing = new AbortController()
  return {
    take(userId) {
      const open = openOf.get(userId) ?? 0
      if (open >= maxTailsPerUser)
        throw new AuthError('too_many_attempts', `${open} tails are open`, {
          retryAfterSeconds: 60,
          problem: `A user may have at most ${maxTailsPerUser} open tails.`,
        })
      openOf.set(userId, open + 1)
      let isMine = true
      return {
        closing: closing.signal,
        release() {
          if (!isMine) return
          isMine = false
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
 * Every event after `after`, once, in the ledger's order, as it becomes final; from now on when
 * `after` is null. Ends when `signal` does.
 *
 * @param options.check asked before each look; what it throws ends the tail
 */
export async function* followLedger(
  sql: postgres.Sql,
  options: {
    after: Position | null
    signal: AbortSignal
    check?: () => Promise<void>
  },
): AsyncGenerator<ListedEvent, void> {
  const { signal, check } = options
  let position = options.after ?? (await readHorizon(sql))
  while (!signal.aborted) {
    await check?.()
    const events = await readForward(sql, position, pageSize)
    for (const event of events) {
      yield event
      position = event.position
    }
    if (events.length < pageSize)
      await sleep(pollMs, undefined, { signal, ref: false }).catch(() => {})
  }
}
