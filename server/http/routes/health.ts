import type { FastifyInstance } from 'fastify'
import { isMigrated } from '../../../db/migrate.ts'
import type { ServiceDeps } from '../../procedures/deps.ts'

/** `/healthz`: the process is up. `/readyz`: the database answers and has the schema of this version. */
export function mountHealth(app: FastifyInstance, { database }: ServiceDeps): void {
  app.get('/healthz', async () => ({ status: 'ok' }))
  app.get('/readyz', async (_request, reply) => {
    const isReady = await isMigrated(database).catch(() => false)
    if (isReady) return { status: 'ready' }
    return reply.code(503).header('retry-after', 1).send({ status: 'not ready' })
  })
}
