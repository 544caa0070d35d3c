import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyBaseLogger } from 'fastify'
import type { Database } from '../../db/connection/connect.ts'
import type { Listener } from '../../db/connection/listener.ts'
import {
  listenForFamilyEnds,
  readFamilyEnds,
  notifiedTime,
  type EndsRange,
} from '../../db/ledger/ends.ts'
import { createSignal } from '../verifier/revocations/signal.ts'
import { describeError } from '../observability/security-log.ts'
import {
  createEndedSet,
  endedRetentionMs,
  maxEndedSessions,
  type Ended,
  type EndedSet,
} from '../verifier/revocations/ended-set.ts'
import { createFreshness } from '../verifier/revocations/freshness.ts'

/** Poll interval without notifications. A successful poll also proves that LISTEN still works. */
const pollIntervalMs = 1_000

/** Minimum time between two polls, so that many notifications cause one poll. */
const minPollSpacingMs = 100

/** Each poll overlaps the last one by this much, to find ends by writers that do not notify, such as older versions. */
const overlapMs = 5_000

/** Ends that one query reads. Decoding so many rows takes the process about 20 ms. */
const pageSize = 5_000

/** A query that takes longer is abandoned with its connection. The first may find nothing in the database's memory. */
const pollTimeoutMs = 2_500
const firstPollTimeoutMs = 10_000

const retryMs = 500

export type EndedSessions = Pick<EndedSet, 'after' | 'isComplete' | 'size'> & {
  /** `unknown` while this process is behind, or if the session came when the set was full: ask the database. */
  stateOf(familyId: string): 'ended' | 'active' | 'unknown'
  /** Whether `stateOf` knows every end that happened up to `lagMs` ago, and `lagMs` is small enough. */
  isCurrent(): boolean
  /** Milliseconds since the last successful poll, or since the start before the first one. */
  lagMs(): number
  /** Waits until ends were added or a poll succeeded, for two seconds at most. False after `close`. */
  nextChange(): Promise<boolean>
  close(): Promise<void>
}

/**
 * Follows the ends of sessions on a connection of its own, so that this process refuses their access tokens
 * soon afterwards without a query for each call.
 *
 * No end is missed. The connection first listens, then reads every end of the last `endedRetentionMs`. From
 * then on, each transaction that ends a session notifies, with its commit, how far back to read. An end that
 * is committed minutes after its timestamp is therefore found as well. A lost connection starts over.
 */
export function followEndedSessions(
  database: Database,
  options: { log: FastifyBaseLogger; capacity?: number; now?: () => number },
): EndedSessions {
  const { log, capacity = maxEndedSessions, now } = options
  const set = createEndedSet(endedRetentionMs, capacity, now)
  const freshness = createFreshness()
  const pollNow = createSignal()
  const pollDone = createSignal()
  let notifiedAt = Infinity
  let listener: Listener | null = null
  const closing = new AbortController()
  const following = follow()

  async function follow(): Promise<void> {
    let isReported = false
    while (!closing.signal.aborted) {
      listener = database.openListener((payload) => {
        notifiedAt = Math.min(notifiedAt, notifiedTime(payload))
        pollNow.notify()
      })
      try {
        await listener.query(listenForFamilyEnds, pollTimeoutMs)
        let readAt = await poll(listener, 0, firstPollTimeoutMs)
        isReported = false
        // Ends when the connection is lost, which throws.
        for (;;) {
          await sleep(minPollSpacingMs, undefined, { ref: false, signal: closing.signal })
          if (notifiedAt === Infinity) await pollNow.wait(pollIntervalMs)
          readAt = await poll(listener, readAt - overlapMs, pollTimeoutMs)
        }
      } catch (error) {
        if (!isReported && !closing.signal.aborted)
          log.warn(describeError(error), 'ended sessions cannot be followed')
        isReported = true
      } finally {
        listener.close()
      }
      if (!closing.signal.aborted) await pollNow.wait(retryMs)
    }
  }

  /** @returns the time of the database */
  async function poll(connection: Listener, since: number, timeoutMs: number): Promise<number> {
    const sinceAt = Math.min(since, notifiedAt)
    notifiedAt = Infinity
    const startedAt = performance.now()
    const readAt = await readEnds(connection, sinceAt, timeoutMs)
    freshness.confirm(performance.now() - startedAt)
    pollDone.notify()
    return readAt
  }

  /** Adds every end since `sinceAt`, in pages. Returns the database's time at the first of them. */
  async function readEnds(
    connection: Listener,
    sinceAt: number,
    timeoutMs: number,
  ): Promise<number> {
    let readAt: number | null = null
    let after: Ended | null = null
    for (;;) {
      const range: EndsRange = { sinceAt, keepMs: endedRetentionMs, after, limit: pageSize }
      const page = await connection.query((sql) => readFamilyEnds(sql, range), timeoutMs)
      set.add(page.ended)
      readAt ??= page.now
      if (page.ended.length < pageSize) return readAt
      after = page.ended.at(-1) ?? null
      pollDone.notify()
    }
  }

  return {
    stateOf(familyId) {
      const found = set.find(familyId)
      if (found === 'ended') return 'ended'
      return found === 'no' && freshness.isCurrent() ? 'active' : 'unknown'
    },
    isCurrent: () => freshness.isCurrent(),
    lagMs: () => freshness.lagMs(),
    get size() {
      return set.size
    },
    isComplete: () => set.isComplete(),
    after: (position, limit) => set.after(position, limit),
    async nextChange() {
      if (!closing.signal.aborted) await pollDone.wait(2 * pollIntervalMs)
      return !closing.signal.aborted
    },
    async close() {
      closing.abort()
      listener?.close()
      pollNow.notify()
      pollDone.notify()
      await following
    },
  }
}
