import { pino, type Logger } from 'pino'
import { connect, type Database } from '../db/connection/connect.ts'
import { hasAdmin } from '../db/users.ts'
import { canServe } from '../db/migrate.ts'
import { rolesOf } from '../db/roles.ts'
import { buildApp, hasConsole } from './app.ts'
import { loadOrCreateAuthSecret } from './config/auth-secret.ts'
import { ConfigError, loadConfig, type Config } from './config/config.ts'
import { lastSeenFile } from './config/last-seen.ts'
import { hideLibpqVariables } from './config/libpq-variables.ts'
import { startEmbeddedPostgres } from './embedded-postgres/start.ts'
import { createFirstAdmin } from './admin/first-admin.ts'
import { probeAddress, withListenErrors } from './config/listen-address.ts'
import {
  configuredUrls,
  migrateWithErrors,
  startWithDatabase,
  type DatabaseUrls,
} from './config/database-url.ts'
import { waitingFor } from './config/waiting.ts'
import { describeError, redact } from './observability/security-log.ts'
import type { Telemetry } from './observability/tracing.ts'

/** Requests in progress get this long to be answered; then the process exits. */
const drainMs = 10_000

const makeAdmin = 'token-ledger user create --email you@example.com --role admin'

// How to stop what has been started, in the order of starting; it is stopped in reverse.
const started: (() => Promise<unknown>)[] = []
let isStopping = false

process.on('SIGINT', () => void stop(0))
process.on('SIGTERM', () => void stop(0))

try {
  const config = loadConfig(process.env)
  hideLibpqVariables(process.env)
  await start(config)
} catch (error) {
  // One line that says what to do, and no stack trace: this is read by an operator.
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
    // postgres.js 3.4 may write to a socket that is already closed; while stopping, this does no harm.
    if (isStopping) return log.debug(describeError(error), 'exception while stopping')
    log.fatal(describeError(error), 'uncaught exception')
    void stop(1)
  })
  // Before an embedded database is created for a service that could not listen.
  if (config.databaseUrl === undefined) await probeAddress(config)
  const urls = configuredUrls(config) ?? (await startPostgres(config, log))
  if (!(await startWithDatabase(urls.service, () => canServe(urls.service))))
    await migrateWithErrors(urls)
  const authSecret = config.authSecret ?? loadOrCreateAuthSecret(config.dataDir)
  const { app: role } = await startWithDatabase(urls.service, () => rolesOf(urls.service))
  const database = connect(urls.service, { role, needsPrimary: true })
  started.push(() => database.close())
  const app = await startWithDatabase(urls.service, () =>
    buildApp({
      config: { ...config, authSecret },
      database,
      logger: log,
      lastSeen: lastSeenFile(config.dataDir),
      ...(telemetry && { traceRequests: telemetry.traceRequests }),
    }),
  )
  started.push(() => app.close())
  await startWithDatabase(urls.service, () =>
    ensureAdmin({ ...config, hasConsole: hasConsole(app) }, database, log),
  )
  const { host, port } = config
  const what = () => `port ${port} of ${host}`
  await withListenErrors({ host, port }, () =>
    waitingFor({ what, atMostMs: 30_000 }, () =>
      app.listen({ host, port, listenTextResolver: () => 'listening' }),
    ),
  )
  const { openUrl, publicUrl } = config
  const issuer = openUrl === publicUrl ? '' : ` (issuer ${publicUrl})`
  console.log(`token-ledger is listening on ${openUrl}${issuer}`)
}

/**
 * The OpenTelemetry SDK is an optional peer dependency. Without it the service starts all the same, because
 * some platforms set the SDK's variables for every process they run.
 */
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

async function startPostgres(config: Config, log: Logger): Promise<DatabaseUrls> {
  // Bounded by itself: a recovery after a crash may take minutes.
  const what = () => `the embedded Postgres in ${config.dataDir}`
  const postgres = await waitingFor({ what }, () =>
    startEmbeddedPostgres({
      dataDir: config.dataDir,
      log: (line) => log.debug({ postgres: line }),
      warn: (line) => log.warn({ postgres: line }),
    }),
  )
  started.push(() => postgres.stop())
  return { owner: postgres.url, service: postgres.serviceUrl }
}

async function ensureAdmin(
  { openUrl, hasConsole: isConsoleServed }: Config,
  database: Database,
  log: Logger,
): Promise<void> {
  const admin = await createFirstAdmin(database)
  if (admin !== null)
    console.log(`
The first admin account was created. This password is shown only once:

  e-mail    ${admin.email}
  password  ${admin.password}

Sign in${isConsoleServed ? ` at ${openUrl}/console/` : ''}:

  curl -s ${openUrl}/auth/login -H 'content-type: application/json' \\
    -d '${JSON.stringify(admin)}'
`)
  else if (!(await hasAdmin(database)))
    log.warn({ command: makeAdmin }, 'there is no admin: make one with this command')
}

async function stop(code: number): Promise<void> {
  if (isStopping) return
  isStopping = true
  setTimeout(() => process.exit(1), drainMs).unref()
  for (const end of started.toReversed()) await end().catch(() => {})
  process.exit(code)
}
