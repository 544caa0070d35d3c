import type { FastifyInstance } from 'fastify'
import type { Database } from '../../db/connection/connect.ts'
import { ensurePartitions } from '../../db/ledger/partitions.ts'
import { describeError } from '../observability/security-log.ts'

const dayMs = 24 * 3_600_000

/**
 * Makes the months of the ledger ahead of need: now and once a day. Without one, sign-ins go on in the default
 * partition, which `ledger archive` cannot take out: so a failure is told and nothing stops.
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
