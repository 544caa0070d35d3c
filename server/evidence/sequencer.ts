import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyBaseLogger } from 'fastify'
import { appendLeaves, readLogSize, type LogDatabase } from '../../db/evidence/log.ts'
import { describeError } from '../observability/security-log.ts'

/** How often a process looks for new events: roughly how far the log is behind. */
const pollMs = 500

const longestPauseMs = 10_000

/** A process that stops waits this long for its last batch; the database may be away. */
const lastBatchMs = 1_000

/** What one call appends at most; fewer mean that the log is complete. */
const batchSize = 1_000

/** While a ledger that is older than the log is taken in, progress is logged this often. */
const progressEveryMs = 10_000

export type Sequencer = {
  /** Leaves that this process has appended. */
  appended(): number
  /** Stops after the batch in progress, or after a second. */
  close(): Promise<void>
}

/**
 * Appends events and admin actions to the log as soon as they are final. Every process tries; a row lock lets one
 * append at a time. A batch is one transaction, so a process that dies leaves the log as it was before the batch.
 */
export function startSequencer(
  database: LogDatabase,
  log: Pick<FastifyBaseLogger, 'info' | 'warn'>,
  options: { pollMs?: number } = {},
): Sequencer {
  let appended = 0
  const closing = new AbortController()
  let isWorking = true
  let tookMs = 0
  let progressAt = performance.now()

  async function append(): Promise<void> {
    try {
      let more: number
      do {
        const beganAt = performance.now()
        more = (await appendLeaves(database)) ?? 0
        tookMs = performance.now() - beganAt
        appended += more
        await reportProgress(more)
      } while (more === batchSize && !closing.signal.aborted)
      isWorking = true
    } catch (error) {
      if (isWorking && !closing.signal.aborted)
        log.warn(describeError(error), 'the log cannot be appended to')
      isWorking = false
    }
  }

  async function reportProgress(more: number): Promise<void> {
    if (more < batchSize || performance.now() - progressAt < progressEveryMs) return
    progressAt = performance.now()
    log.info({ leaves: await readLogSize(database) }, 'events are being taken into the log')
  }

  async function run(): Promise<void> {
    while (!closing.signal.aborted) {
      await append()
      // A ledger that takes long to search is searched less often.
      const pauseMs = Math.max(options.pollMs ?? pollMs, Math.min(2 * tookMs, longestPauseMs))
      await sleep(pauseMs, undefined, { signal: closing.signal, ref: false }).catch(() => {})
    }
  }

  const running = run()
  return {
    appended: () => appended,
    async close() {
      closing.abort()
      await Promise.race([running, sleep(lastBatchMs, undefined, { ref: false })])
    },
  }
}
