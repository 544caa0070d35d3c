import type { FastifyInstance } from 'fastify'
import type { Database } from '../../db/connection/connect.ts'
import { deleteStaleCounts } from '../../db/limit-counts.ts'

const everyMs = 5 * 60_000
const batchSize = 1_000

/** Deletes stale counts of the rate limits every five minutes, until the app closes. */
export function removeStaleCounts(app: FastifyInstance, database: Database): void {
  const remove = async () => {
    while ((await deleteStaleCounts(database, batchSize)) === batchSize);
  }
  // A failure does no harm: the rows are deleted five minutes later.
  const timer = setInterval(() => void remove().catch(() => {}), everyMs).unref()
  app.addHook('onClose', async () => clearInterval(timer))
}
