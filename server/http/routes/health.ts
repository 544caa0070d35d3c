import type { FastifyInstance } from 'fastify'
import { isMigrated, newestMigration } from '../../../db/migrate.ts'
import type { ServiceDeps } from '../../procedures/deps.ts'

/**
 * `/healthz`: the process is up. `/readyz`: the database answers and has the schema of this version; what an operator
 * should change is in `warnings`.
 */
export function mountHealth(app: FastifyInstance, { database, warnings }: ServiceDeps): void {
  const newest = newestMigration()
  let asking: Promise<boolean> | null = null
  /** Anyone may ask, any number of times: callers at the same time share one statement. */
  const isReady = () =>
    (asking ??= isMigrated(database, newest)
      .catch(() => false)
      .finally(() => (asking = null)))

  app.get('/healthz', async () => ({ status: 'ok' }))
  app.get('/readyz', async (_request, reply) => {
    if (await isReady()) return { status: 'ready', ...(warnings.length > 0 && { warnings }) }
    return reply.code(503).header('retry-after', 1).send({ status: 'not ready' })
  })
}
