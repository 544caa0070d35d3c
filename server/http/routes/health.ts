import type { FastifyInstance } from 'fastify'
import { isMigrated, newestMigration } from '../../../db/migrate.ts'
import { isWritable } from '../../../db/connection/writable.ts'
import type { ServiceDeps } from '../../procedures/deps.ts'

type NotReady = { readonly reason?: 'database_read_only' }

/**
 * `/healthz`: the process is up. `/readyz`: the database answers, has the schema of this version and takes writes; what
 * an operator should change is in `warnings`.
 */
export function mountHealth(app: FastifyInstance, { database, warnings }: ServiceDeps): void {
  const newest = newestMigration()
  let asking: Promise<'ready' | NotReady> | null = null
  /** Anyone may ask, any number of times: callers at the same time share one answer. */
  const state = () =>
    (asking ??= ask()
      .catch(() => ({}))
      .finally(() => (asking = null)))

  async function ask(): Promise<'ready' | NotReady> {
    if (!(await isMigrated(database, newest))) return {}
    if (await isWritable(database)) return 'ready'
    // Without traffic, no failed write gives up the connections to a server that became a standby.
    database.reconnect()
    return { reason: 'database_read_only' }
  }

  app.get('/healthz', async () => ({ status: 'ok' }))
  app.get('/readyz', async (_request, reply) => {
    const found = await state()
    const shown = warnings()
    const more = shown.length > 0 && { warnings: shown }
    if (found === 'ready') return { status: 'ready', ...more }
    return reply
      .code(503)
      .header('retry-after', 1)
      .send({ status: 'not ready', ...found, ...more })
  })
}
