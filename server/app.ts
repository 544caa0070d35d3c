import cookie from '@fastify/cookie'
import cors from '@fastify/cors'
import fastify, {
  LogController,
  type FastifyBaseLogger,
  type FastifyError,
  type FastifyInstance,
  type FastifyPluginAsync,
} from 'fastify'
import type { Database } from '../db/connection/connect.ts'
import { isUnavailable, transactionsOf } from '../db/connection/transaction.ts'
import { createAccessTokens } from './tokens/access-token.ts'
import { mountAuth } from './http/routes/auth.ts'
import type { Config } from './config/config.ts'
import type { Deps } from './procedures/deps.ts'
import { followEndedSessions } from './sessions/ended-sessions.ts'
import { sendError } from './http/error-replies.ts'
import { AuthError } from './errors.ts'
import { clientErrorHandler, frameworkErrors } from './http/client-errors.ts'
import { mountExamplePage } from './http/routes/example.ts'
import { hardeningHeaders } from './http/hardening.ts'
import { mountHealth } from './http/routes/health.ts'
import { createLimits, noLimits } from './procedures/limits.ts'
import { createMetrics, mountMetrics } from './observability/metrics.ts'
import { createTails } from './audit/tail.ts'
import { deriveRefreshTokenKeys } from './tokens/refresh-token.ts'
import { mountRevocations } from './http/routes/revocations.ts'
import { createRotation, type Rotate } from './sessions/rotation.ts'
import { keepPartitionsAhead } from './audit/partitions.ts'
import { createSecurityLog } from './observability/security-log.ts'
import { jwksMaxAgeSeconds, loadSigningKeys } from './tokens/signing-keys.ts'
import { mountTrpc } from './http/routes/trpc.ts'
import { createAccounts } from './users/accounts.ts'
import { createPasswords } from './users/passwords.ts'
import type { UserDirectory } from './users/directory.ts'
import { verifierOf } from './verifier/index.ts'

export { loadConfig, type Config } from './config/config.ts'
export { connect, type Database } from '../db/connection/connect.ts'
export type { AppRouter, AuthRouter } from './procedures/router.ts'
export type { AccountStore, Role, User, UserDirectory } from './users/directory.ts'

export type AppOptions = {
  /** From `loadConfig`; `authSecret` must be set. */
  readonly config: Config
  /** From `connect`, migrated. The caller closes it, after the app. */
  readonly database: Database
  /** Who the users are; our own table `user_account` unless given. */
  readonly users?: UserDirectory
  /** How many rotations share a transaction at most; 64 unless given, 1 on a sharded database. */
  readonly rotationBatchSize?: number
  /** Where the built example page is; beside the server's own files unless given. */
  readonly exampleFolder?: string
  /** Takes the place of the rotation: to measure what everything around it costs. */
  readonly rotate?: Rotate
}

/** Answers under way get this long when the app closes; then their connections are cut. */
const drainMs = 5_000

/**
 * The service as one Fastify app with everything mounted; it never listens by itself.
 *
 * @throws {Error} when the database cannot be asked, or holds keys that `AUTH_SECRET` does not open
 */
export async function buildApp(
  options: AppOptions & {
    readonly logger?: FastifyBaseLogger
    /** Adds its hooks before all others. */
    readonly traceRequests?: (app: FastifyInstance) => void
  },
): Promise<FastifyInstance> {
  const { config } = options
  const app = fastify({
    ...(options.logger ? { loggerInstance: options.logger } : { logger: false }),
    // Its line holds the URL with the query string.
    logController: new LogController({ disableRequestLogging: true }),
    // A list of networks or nothing: `true` would let callers choose their address.
    trustProxy: config.trustedProxies.length > 0 ? [...config.trustedProxies] : false,
    // A request that takes longer to arrive is ended; `requestTimeout` alone is not looked at in time.
    requestTimeout: 15_000,
    http: { headersTimeout: 10_000, connectionsCheckingInterval: 1_000 },
    keepAliveTimeout: 65_000,
    forceCloseConnections: 'idle',
    clientErrorHandler,
    frameworkErrors,
  })
  app.addHook('preClose', async () => {
    // A browser opens connections ahead of need: one that has sent nothing yet is not idle to Node.
    setTimeout(() => app.server.closeAllConnections(), drainMs).unref()
  })
  options.traceRequests?.(app)
  await app.register(tokenLedger, options)
  return app
}

/** Everything of the service as a plugin, for an app that has other routes besides. */
export const tokenLedger: FastifyPluginAsync<AppOptions> = async (app, options) => {
  const deps = await makeDeps(app, options)
  // Before CORS, which answers a preflight by itself.
  const hardening = hardeningHeaders()
  app.addHook('onRequest', (_request, reply, done) => {
    void reply.headers(hardening)
    done()
  })
  await app.register(cors, {
    // A function, so that a foreign origin is told nothing at all; a list would tell it the rest.
    origin: (origin: string | undefined, answer: (error: null, allowed: string | false) => void) =>
      answer(
        null,
        origin !== undefined && deps.config.allowedOrigins.includes(origin) ? origin : false,
      ),
    credentials: true,
    methods: ['GET', 'POST'],
    allowedHeaders: ['authorization', 'content-type', 'trpc-accept', 'last-event-id'],
    exposedHeaders: ['retry-after', 'www-authenticate'],
    maxAge: 600,
  })
  // To write cookies. What was sent is read from the header itself: see refresh-cookie.
  await app.register(cookie, { hook: false })
  app.setErrorHandler<FastifyError>((error, request, reply) => {
    const said = toAuthError(error)
    deps.reportError(said, request.routeOptions.url ?? '', request.ip)
    return sendError(reply, said)
  })
  app.setNotFoundHandler((_request, reply) =>
    sendError(reply, new AuthError('not_found', 'no such route')),
  )
  await app.register(async (scope) => mountAuth(scope, deps))
  await app.register(async (scope) => mountTrpc(scope, deps))
  mountHealth(app, deps)
  mountRevocations(app, deps)
  mountMetrics(app, deps.metrics, deps.config.metricsToken)
  if (!deps.config.isProduction) await mountExamplePage(app, options.exampleFolder)
  app.get('/.well-known/jwks.json', (_request, reply) =>
    reply
      .header('cache-control', `public, max-age=${jwksMaxAgeSeconds}`)
      .send(deps.signingKeys.jwks()),
  )
}

async function makeDeps(app: FastifyInstance, options: AppOptions): Promise<Deps> {
  const { config, database } = options
  if (config.authSecret === undefined) throw new Error('AUTH_SECRET is not set')
  const secrets: [string, ...string[]] = [config.authSecret]
  if (config.authSecretPrevious !== undefined) secrets.push(config.authSecretPrevious)

  const signingKeys = await loadSigningKeys(database, secrets)
  app.addHook('onClose', async () => signingKeys.close())
  await keepPartitionsAhead(app, database)
  const passwords = createPasswords()
  const tails = createTails()
  const metrics = createMetrics({
    queueDepth: () => rotation.queue.depth,
    passwordHashes: () => passwords.load(),
    transactions: () => transactionsOf(database.sql),
    openTails: () => tails.open(),
    revocationLagMs: () => endedSessions.lagMs(),
  })
  const { record, reportError } = createSecurityLog(app.log, metrics.count)
  const sessionDeps = {
    sql: database.sql,
    users: options.users ?? createAccounts(database, passwords),
    refreshKeys: deriveRefreshTokenKeys(secrets),
    policy: {
      idleMs: config.refreshIdleMs,
      absoluteMs: config.refreshAbsoluteMs,
      graceMs: config.rotationGraceMs,
      reuseScope: config.reuseScope,
      maxSessionsPerUser: config.maxSessionsPerUser,
      ...(options.rotationBatchSize !== undefined && {
        rotationBatchSize: options.rotationBatchSize,
      }),
    },
    record,
  }
  const accessTokens = createAccessTokens(signingKeys, {
    issuer: config.publicUrl,
    audience: config.accessTokenAudience,
    lifetimeMs: config.accessTokenMs,
  })
  const rotation = createRotation(sessionDeps, {
    onWaited: metrics.waited,
    whileWriting: (sessions) => sessions.forEach((one) => accessTokens.prepare(one)),
  })
  const rotate = metrics.timing(options.rotate ?? rotation.rotate)
  const verifier = verifierOf(signingKeys.keySource, {
    issuer: config.publicUrl,
    audience: config.accessTokenAudience,
  })
  const limits = config.rateLimits === 'on' ? createLimits(database, config) : noLimits
  // Before connections are waited for: a tail would keep its own open.
  app.addHook('preClose', async () => tails.close())
  const endedSessions = followEndedSessions(database, { log: app.log })
  // It ends the streams of those who follow us.
  app.addHook('preClose', () => endedSessions.close())
  return {
    ...sessionDeps,
    config,
    database,
    signingKeys,
    accessTokens,
    rotate,
    verifier,
    limits,
    metrics,
    tails,
    endedSessions,
    reportError,
  }
}

/** What Fastify itself refuses, and what nobody expected. */
function toAuthError(error: FastifyError): AuthError {
  if (error instanceof AuthError) return error
  if (isUnavailable(error))
    return new AuthError('service_unavailable', error.code, { retryAfterSeconds: 1 })
  switch (error.statusCode) {
    case 413:
      return new AuthError('payload_too_large', error.code)
    case 415:
      return new AuthError('unsupported_media_type', error.code)
    default:
      if (
        error instanceof SyntaxError ||
        (error.statusCode !== undefined && error.statusCode < 500)
      )
        return new AuthError('validation_failed', error.code ?? 'unreadable')
      return new AuthError('internal_error', error.name)
  }
}
