import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyBaseLogger } from 'fastify'
import type { Database } from '../../db/connection/connect.ts'
import type { Line } from '../../db/connection/listener.ts'
import { listenToEnds, readEnds, toldTime } from '../../db/ledger/ends.ts'
import { createBell } from '../verifier/revocations/bell.ts'
import { describeError } from '../observability/security-log.ts'
import {
  createEndedSet,
  keepEndedMs,
  maxEnded,
  type EndedSet,
} from '../verifier/revocations/ended-set.ts'
import { createFreshness } from '../verifier/revocations/freshness.ts'

/** The database is asked so often though nothing was told: it proves that the connection still hears. */
const lookEveryMs = 1_000

/** After being told, never sooner than this after the last look: many ends are one look. */
const lookSpacingMs = 100

/** How far each look reaches back before the last one: for writers that tell nothing, as older versions. */
const overlapMs = 5_000

/** A look that takes longer is given up with its connection. The first may read `maxEnded` rows. */
const lookTimeoutMs = 2_500
const firstLookTimeoutMs = 10_000

const retryMs = 500

export type EndedSessions = Pick<EndedSet, 'after'> & {
  /** `unknown` while this process is behind, or had no room for all of them: ask the database. */
  stateOf(familyId: string): 'ended' | 'going_on' | 'unknown'
  /** Whether all that ended until `lagMs` ago is known, and that is not too long ago. */
  isCurrent(): boolean
  /** How long ago the database was asked with success; since the start while it never was. */
  lagMs(): number
  /** Waits until the database has been asked again, for two seconds at most. False: nothing will follow. */
  news(): Promise<boolean>
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
  const { log, capacity = maxEnded } = options
  const set = createEndedSet(keepEndedMs, capacity)
  const freshness = createFreshness()
  const bell = createBell()
  const news = createBell()
  let toldAt = Infinity
  let line: Line | null = null
  const closing = new AbortController()
  const following = follow()

  async function follow(): Promise<void> {
    let isReported = false
    while (!closing.signal.aborted) {
      line = database.openLine((payload) => {
        toldAt = Math.min(toldAt, toldTime(payload))
        bell.ring()
      })
      try {
        await line.ask(listenToEnds, lookTimeoutMs)
        let readAt = await look(line, 0, firstLookTimeoutMs)
        isReported = false
        // Until the line is lost, which throws.
        for (;;) {
          await sleep(lookSpacingMs, undefined, { ref: false })
          if (toldAt === Infinity) await bell.wait(lookEveryMs)
          readAt = await look(line, readAt - overlapMs, lookTimeoutMs)
        }
      } catch (error) {
        if (!isReported && !closing.signal.aborted)
          log.warn(describeError(error), 'the ends of sessions cannot be followed')
        isReported = true
      } finally {
        line.close()
      }
      if (!closing.signal.aborted) await bell.wait(retryMs)
    }
  }

  /** @returns the database's time */
  async function look(on: Line, since: number, timeoutMs: number): Promise<number> {
    const sinceAt = Math.min(since, toldAt)
    toldAt = Infinity
    const beganAt = performance.now()
    const range = { sinceAt, keepMs: keepEndedMs, limit: capacity + 1 }
    const { now, ended } = await on.ask((sql) => readEnds(sql, range), timeoutMs)
    set.add(ended.toReversed())
    freshness.confirm(performance.now() - beganAt)
    news.ring()
    return now
  }

  const isCurrent = () => freshness.isCurrent() && set.isComplete()
  return {
    stateOf(familyId) {
      if (set.has(familyId)) return 'ended'
      return isCurrent() ? 'going_on' : 'unknown'
    },
    isCurrent,
    lagMs: () => freshness.lagMs(),
    after: (position, limit) => set.after(position, limit),
    async news() {
      if (!closing.signal.aborted) await news.wait(2 * lookEveryMs)
      return !closing.signal.aborted
    },
    async close() {
      closing.abort()
      line?.close()
      bell.ring()
      news.ring()
      await following
    },
  }
}
