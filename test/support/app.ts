import type { FastifyInstance } from 'fastify'
import { connect, type Database } from '../../db/connection/connect.ts'
import { buildApp, loadConfig } from '../../server/index.ts'
import type { AppOptions } from '../../server/wiring.ts'
import { serviceUrl } from './admin.ts'
import { freshDatabase, type FreshDatabase } from './database.ts'
import { freePort, testMetricsToken, testSecret } from './server.ts'

/** The service in this process, listening on a real socket, on a database of its own. */
export type TestApp = AsyncDisposable & {
  readonly url: string
  readonly app: FastifyInstance
  /** Connected as the service is: with a login that is only a member of token_ledger_app. */
  readonly database: Database
  readonly owner: FreshDatabase
}

type Options = Partial<AppOptions & Parameters<typeof buildApp>[0]> & {
  /** The migrated database to serve from; a fresh one unless given. Dropped with the app either way. */
  readonly owner?: FreshDatabase
  /** Adds routes of a team's own. */
  readonly addRoutes?: (app: FastifyInstance) => void
}

export async function startApp(
  env: Record<string, string> = {},
  { owner: given, addRoutes, ...options }: Options = {},
): Promise<TestApp> {
  const owner = given ?? (await freshDatabase())
  const port = env.PORT === undefined ? await freePort() : Number(env.PORT)
  const config = loadConfig({
    PORT: String(port),
    AUTH_SECRET: testSecret,
    RATE_LIMITS: 'off',
    METRICS_TOKEN: testMetricsToken,
    PUBLIC_DEVELOPMENT: 'allow',
    ...env,
  })
  const database = connect(serviceUrl(owner.url), { role: 'token_ledger_app' })
  const app = await buildApp({ config, database, ...options })
  addRoutes?.(app)
  await app.listen({ host: '127.0.0.1', port })
  return {
    url: `http://127.0.0.1:${port}`,
    app,
    database,
    owner,
    async [Symbol.asyncDispose]() {
      await app.close()
      await database.close()
      await owner[Symbol.asyncDispose]()
    },
  }
}
