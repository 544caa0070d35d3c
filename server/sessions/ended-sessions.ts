import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyBaseLogger } from 'fastify'
import type { Database } from '../../db/connection/connect.ts'
import type { Listener } from '../../db/connection/listener.ts'
import { listenForFamilyEnds, readFamilyEnds, notifiedTime } from '../../db/ledger/ends.ts'
import { createSignal } from '../verifier/revocations/signal.ts'
import { describeError } from '../observability/security-log.ts'
import {
  createEndedSet,
  endedRetentionMs,
  maxEndedSessions,
  type EndedSet,
} from '../verifier/revocations/ended-set.ts'
import { createFreshness } from '../verifier/revocations/freshness.ts'

/** The database is asked so often though nothing was told: it proves that the connection still hears. */
const pollIntervalMs = 1_000

/** After being told, never sooner than this after the last look: many ends are one look. */
const minPollSpacingMs = 100

/** How far each look reaches back before the last one: for writers that tell nothing, as older versions. */
const overlapMs = 5_000

/** A look that takes longer is given up with its connection. The first may read `maxEnded` rows. */
const pollTimeoutMs = 2_500
const firstPollTimeoutMs = 10_000

const retryMs = 500

export type EndedSessions = Pick<EndedSet, 'after'> & {
  /** `unknown` while this process is behind, or had no room for all of them: ask the database. */
  stateOf(familyId: string): 'ended' | 'active' | 'unknown'
  /** Whether all that ended until `lagMs` ago is known, and that is not too long ago. */
  isCurrent(): boolean
  /** How long ago the database was asked with success; since the start while it never was. */
  lagMs(): number
  /** Waits until the database has been asked again, for two seconds at most. False: nothing will follow. */
  nextChange(): Promise<boolean>
  close(): Promise<void>
}

/**
 * Follows the ends of sessions on one connection of its own, so that every process refuses their access
 * tokens soon after, without a question for each call.
 *
 * Nothing is missed. First the connection listens, then it reads all that ended in the last `keepEndedMs`;
 * from then on whoever ends a session tells, with its commit, how far back to look. So an end that is
 * committed minutes after its time is found, too. When the connection is lost all of this begins anew.
 */
export function followEndedSessions(
  database: Database,
  options: { log: FastifyBaseLogger; capacity?: number },
): EndedSessions {
  const { log, capacity = maxEndedSessions } = options
  const set = createEndedSet(endedRetentionMs, capacity)
  const freshness = createFreshness()
  const wake = createSignal()
  const polled = createSignal()
  let notifiedAt = Infinity
  let listener: Listener | null = null
  const closing = new AbortController()
  const following = follow()

  async function follow(): Promise<void> {
    let isReported = false
    while (!closing.signal.aborted) {
      listener = database.openListener((payload) => {
        notifiedAt = Math.min(notifiedAt, notifiedTime(payload))
        wake.notify()
      })
      try {
        await listener.query(listenForFamilyEnds, pollTimeoutMs)
        let readAt = await poll(listener, 0, firstPollTimeoutMs)
        isReported = false
        // Until the line is lost, which throws.
        for (;;) {
          await sleep(minPollSpacingMs, undefined, { ref: false })
          if (notifiedAt === Infinity) await wake.wait(pollIntervalMs)
          readAt = await poll(listener, readAt - overlapMs, pollTimeoutMs)
        }
      } catch (error) {
        if (!isReported && !closing.signal.aborted)
          log.warn(describeError(error), 'the ends of sessions cannot be followed')
        isReported = true
      } finally {
        listener.close()
      }
      if (!closing.signal.aborted) await wake.wait(retryMs)
    }
  }

  /** @returns the database's time */
  async function poll(on: Listener, since: number, timeoutMs: number): Promise<number> {
    const sinceAt = Math.min(since, notifiedAt)
    notifiedAt = Infinity
    const beganAt = performance.now()
    const range = { sinceAt, keepMs: endedRetentionMs, limit: capacity + 1 }
    const { now, ended } = await on.query((sql) => readFamilyEnds(sql, range), timeoutMs)
    set.add(ended.toReversed())
    freshness.confirm(performance.now() - beganAt)
    polled.notify()
    return now
  }

  const isCurrent = () => freshness.isCurrent() && set.isComplete()
  return {
    stateOf(familyId) {
      if (set.has(familyId)) return 'ended'
      return isCurrent() ? 'active' : 'unknown'
    },
    isCurrent,
    lagMs: () => freshness.lagMs(),
    after: (position, limit) => set.after(position, limit),
    async nextChange() {
      if (!closing.signal.aborted) await polled.wait(2 * pollIntervalMs)
      return !closing.signal.aborted
    },
    async close() {
      closing.abort()
      listener?.close()
      wake.notify()
      polled.notify()
      await following
    },
  }
}
