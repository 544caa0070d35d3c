import type { FastifyInstance } from 'fastify'
import { createHourCounter } from '../../db/audit/event-hours.ts'
import type { Database } from '../../db/connection/connect.ts'
import { sweepOpenFamilies } from '../../db/ledger/open-families.ts'
import { ensurePartitions } from '../../db/ledger/partitions.ts'
import { describeError } from '../observability/security-log.ts'

const dayMs = 24 * 3_600_000

/**
 * Keeps the ledger's tables in order, now and once a day: creates the partitions of the next months, and removes
 * expired families from the table of open ones. A failure is logged and stops nothing: new sessions of a missing
 * month go to the default partition until the month is made.
 */
export async function keepTables(app: FastifyInstance, database: Database): Promise<void> {
  const keep = async () => {
    try {
      await ensurePartitions(database)
    } catch (error) {
      app.log.warn(describeError(error), 'could not create the partitions of the next months')
    }
    try {
      await sweepOpenFamilies(database)
    } catch (error) {
      app.log.warn(describeError(error), 'could not remove expired sessions from open_family')
    }
  }
  await keep()
  const timer = setInterval(() => void keep(), dayMs)
  timer.unref()
  app.addHook('onClose', async () => clearInterval(timer))
}

/** How soon events are counted by the hour; until then each chart reads them. */
const countEveryMs = 60_000

/**
 * Counts the events of each hour, from now on and every minute, in the background: see `countEvents`. One process counts
 * at a time. A failure is logged; charts then read more events.
 */
export function keepEventHours(app: FastifyInstance, database: Database): void {
  const closing = new AbortController()
  const countNext = createHourCounter(database.questions)
  const count = async () => {
    try {
      while (!closing.signal.aborted && (await countNext()));
    } catch (error) {
      if (!closing.signal.aborted)
        app.log.warn(describeError(error), 'could not count the events of past hours')
    }
  }
  void count()
  const timer = setInterval(() => void count(), countEveryMs)
  timer.unref()
  app.addHook('onClose', async () => {
    closing.abort()
    clearInterval(timer)
  })
}
