import type { FastifyInstance } from 'fastify'
import { deleteStaleCounts } from '../../db/rate-limits.ts'
import type { Database } from '../../db/connection/connect.ts'

const everyMs = 5 * 60_000
/** The clocks of processes differ: a count is stale long after each of them has seen it expire. */
const staleAfterMs = 3_600_000
const batchSize = 1_000

/** Deletes stale counts of the rate limits every five minutes, until the app closes. */
export function removeStaleCounts(app: FastifyInstance, database: Database): void {
  const remove = async () => {
    while ((await deleteStaleCounts(database, Date.now() - staleAfterMs, batchSize)) === batchSize);
  }
  // A failure does no harm: the rows are deleted five minutes later.
  const timer = setInterval(() => void remove().catch(() => {}), everyMs).unref()
  app.addHook('onClose', async () => clearInterval(timer))
}
