import type { FastifyInstance } from 'fastify'
import type { Database } from '../../db/connection/connect.ts'
import { ensurePartitions } from '../../db/ledger/partitions.ts'
import { describeError } from '../observability/security-log.ts'

const dayMs = 24 * 3_600_000

/**
 * Creates the partitions of the next months, now and once a day. A failure is logged and stops nothing: new
 * sessions of a missing month go to the default partition, which `ledger archive` does not archive.
 */
export async function keepPartitionsAhead(app: FastifyInstance, database: Database): Promise<void> {
  const ensure = async () => {
    try {
      await ensurePartitions(database)
    } catch (error) {
      app.log.warn(describeError(error), 'could not create the partitions of the next months')
    }
  }
  await ensure()
  const timer = setInterval(() => void ensure(), dayMs)
  timer.unref()
  app.addHook('onClose', async () => clearInterval(timer))
}
