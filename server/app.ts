import cookie from '@fastify/cookie'
import cors from '@fastify/cors'
import fastify, {
  type FastifyBaseLogger,
  type FastifyError,
  type FastifyInstance,
  type FastifyPluginAsync,
  LogController,
} from 'fastify'
import { AuthError } from './errors.ts'
import { clientErrorHandler, frameworkErrors } from './http/client-errors.ts'
import { sendError, toAuthError } from './http/error-replies.ts'
import { hardeningHeaders } from './http/hardening.ts'
import { mountAuth } from './http/routes/auth.ts'
import { mountExamplePage } from './http/routes/example.ts'
import { mountHealth } from './http/routes/health.ts'
import { mountJwks } from './http/routes/jwks.ts'
import { mountMetrics } from './http/routes/metrics.ts'
import { mountRevocations } from './http/routes/revocations.ts'
import { mountTrpc } from './http/routes/trpc.ts'
import type { TraceRequests } from './observability/tracing.ts'
import { procedurePaths } from './procedures/router.ts'
import { type AppOptions, makeDeps } from './wiring.ts'

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
    readonly traceRequests?: TraceRequests
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
  options.traceRequests?.(app, procedurePaths)
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
  mountJwks(app, deps)
}
