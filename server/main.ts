import { pino, type Logger } from 'pino'
import { connect, type Database } from '../db/connection/connect.ts'
import { buildApp } from './app.ts'
import { loadOrCreateAuthSecret } from './config/auth-secret.ts'
import { ConfigError, loadConfig, type Config } from './config/config.ts'
import { startEmbeddedPostgres } from './embedded-postgres/start.ts'
import { createFirstAdmin } from './admin/first-admin.ts'
import { withListenErrors, probeAddress } from './config/listen-address.ts'
import { withDatabaseErrors, migrateWithErrors } from './config/database-url.ts'
import { describeError, redact } from './observability/security-log.ts'
import type { Telemetry } from './observability/tracing.ts'

/** Requests under way get this long to be answered; then the process ends anyway. */
const drainMs = 10_000

// What has been started, in that order; stopped in the other.
const started: (() => Promise<unknown>)[] = []
let isStopping = false

process.on('SIGINT', () => void stop(0))
process.on('SIGTERM', () => void stop(0))

try {
  await start(loadConfig(process.env))
} catch (error) {
  // One line that says what to do; a stack helps nobody who starts a service.
  if (!isStopping)
    console.error(`token-ledger: ${error instanceof Error ? error.message : 'failed'}`)
  await stop(error instanceof ConfigError ? 3 : 1)
}

async function start(config: Config): Promise<void> {
  const telemetry = config.isTraced ? await startTracing() : null
  const log = pino({
    level: config.logLevel,
    redact,
    ...(telemetry && { mixin: telemetry.logFields }),
  })
  process.on('uncaughtException', (error) => {
    // The driver (postgres.js 3.4) writes to sockets that are gone; while we stop, that is nobody's problem.
    if (isStopping) return log.debug(describeError(error), 'exception while stopping')
    log.fatal(describeError(error), 'uncaught exception')
    void stop(1)
  })
  // Before a database is made that would then serve nobody.
  if (config.databaseUrl === undefined) await probeAddress(config)
  const databaseUrl = config.databaseUrl ?? (await startPostgres(config, log))
  for (const right of await migrateWithErrors(databaseUrl))
    log.warn({ right }, 'PUBLIC keeps a right that the owner of the ledger cannot revoke')
  const authSecret = config.authSecret ?? loadOrCreateAuthSecret(config.dataDir)
  const database = connect(databaseUrl, { role: 'token_ledger_app' })
  started.push(() => database.close())
  const app = await withDatabaseErrors(databaseUrl, () =>
    buildApp({
      config: { ...config, authSecret },
      database,
      logger: log,
      ...(telemetry && { traceRequests: telemetry.traceRequests }),
    }),
  )
  started.push(() => app.close())
  const { host, port } = config
  await withListenErrors(config, () =>
    app.listen({ host, port, listenTextResolver: () => 'listening' }),
  )
  await welcome(config, database)
}

/** The SDK is installed by who wants traces. Without it the service serves: platforms set its variables for all they run. */
async function startTracing(): Promise<Telemetry | null> {
  try {
    const { startTelemetry } = await import('./observability/tracing.ts')
    const telemetry = startTelemetry()
    started.push(() => telemetry.stop())
    return telemetry
  } catch (error) {
    const why = error instanceof Error ? error.message : 'failed'
    console.error(`token-ledger: no traces without @opentelemetry/sdk-node: ${why}`)
    return null
  }
}

async function startPostgres(config: Config, log: Logger): Promise<string> {
  const postgres = await startEmbeddedPostgres({
    dataDir: config.dataDir,
    log: (line) => log.debug({ postgres: line }),
    warn: (line) => log.warn({ postgres: line }),
  })
  started.push(() => postgres.stop())
  return postgres.url
}

async function welcome({ publicUrl }: Config, database: Database): Promise<void> {
  console.log(`token-ledger is listening on ${publicUrl}`)
  const admin = await createFirstAdmin(database)
  if (admin === null) return
  console.log(`
The first admin was made. This password is shown once:

  e-mail    ${admin.email}
  password  ${admin.password}

Sign in:

  curl -s ${publicUrl}/auth/login -H 'content-type: application/json' \\
    -d '${JSON.stringify(admin)}'
`)
}

async function stop(code: number): Promise<void> {
  if (isStopping) return
  isStopping = true
  setTimeout(() => process.exit(1), drainMs).unref()
  for (const end of started.toReversed()) await end().catch(() => {})
  process.exit(code)
}
