import cookie from '@fastify/cookie'
import cors from '@fastify/cors'
import fastify, {
  type FastifyBaseLogger,
  type FastifyError,
  type FastifyInstance,
  type FastifyPluginAsync,
  LogController,
  type onRequestHookHandler,
} from 'fastify'
import { AuthError } from './errors.ts'
import { isIn, parseAddress } from './http/address.ts'
import { clientErrorHandler, frameworkErrors } from './http/client-errors.ts'
import { sendError, toAuthError } from './http/error-replies.ts'
import { hardeningHeaders } from './http/hardening.ts'
import { isAllowedOrigin } from './http/origin.ts'
import { oneAtATimePerConnection } from './http/pipelining.ts'
import { refuseFloods } from './http/refuse-floods.ts'
import { warnAboutProxies } from './http/proxy-warnings.ts'
import { mountAuth } from './http/routes/auth.ts'
import { mountConsole } from './http/routes/console.ts'
import { mountExport } from './http/routes/export.ts'
import { mountHealth } from './http/routes/health.ts'
import { mountJwks } from './http/routes/jwks.ts'
import { mountLedger } from './http/routes/ledger.ts'
import { mountMetrics } from './http/routes/metrics.ts'
import { mountRevocations } from './http/routes/revocations.ts'
import { mountTrpc } from './http/routes/trpc.ts'
import { reauthenticatedOf } from './http/reauthenticated.ts'
import { startSessionOf } from './http/start-session.ts'
import { refusingWhileStopping } from './http/stopping.ts'
import { createFloods } from './limits/floods.ts'
import type { TraceRequests } from './observability/tracing.ts'
import type { ServiceDeps } from './procedures/deps.ts'
import { procedurePaths } from './procedures/router.ts'
import { type AppOptions, makeDeps } from './wiring.ts'

/** When the app closes, responses in progress get this long; then their connections are closed. */
const drainMs = 5_000

/**
 * Builds the whole service as one Fastify app; the caller makes it listen.
 *
 * @throws {Error} when the database is not reachable, or `AUTH_SECRET` does not decrypt its signing keys
 */
export async function buildApp(
  options: AppOptions & {
    readonly logger?: FastifyBaseLogger
    /** Adds hooks that run before all others. */
    readonly traceRequests?: TraceRequests
  },
): Promise<FastifyInstance> {
  const { config } = options
  const app = fastify({
    ...(options.logger ? { loggerInstance: options.logger } : { logger: false }),
    // Fastify's request log would contain the URL with its query string.
    logController: new LogController({ disableRequestLogging: true }),
    // A list of networks or nothing: with `true`, callers could choose their own IP address.
    trustProxy: config.trustedProxies.length > 0 ? isIn(config.trustedProxies) : false,
    // Limits how long a request may take to arrive. Node enforces it only when it checks its connections,
    // by default every 30 s.
    requestTimeout: 15_000,
    http: { headersTimeout: 10_000, connectionsCheckingInterval: 1_000 },
    keepAliveTimeout: 65_000,
    forceCloseConnections: 'idle',
    // `refusingWhileStopping` answers in the envelope of all other errors.
    return503OnClosing: false,
    clientErrorHandler,
    frameworkErrors,
  })
  app.addHook('preClose', async () => {
    // Browsers open connections in advance, and Node does not count one that has sent nothing as idle.
    setTimeout(() => app.server.closeAllConnections(), drainMs).unref()
  })
  options.traceRequests?.(app, procedurePaths)
  await app.register(tokenLedger, options)
  // Not in the plugin: the root of an app that embeds the service is its own.
  if (!config.isProduction && hasConsole(app))
    app.get('/', (_request, reply) => reply.redirect('/console/'))
  return app
}

/** Whether `/console/` is served: it was built, and `CONSOLE` is not off. */
export function hasConsole(app: FastifyInstance): boolean {
  return app.hasRoute({ method: 'GET', url: '/console/' })
}

/**
 * The whole service as a plugin, for an app that also has other routes. It adds `startSession` and `reauthenticated` to the app. Its hooks and
 * its error handler are for its own routes alone.
 */
export const tokenLedger: FastifyPluginAsync<AppOptions> = Object.assign(
  async (app: FastifyInstance, options: AppOptions) => {
    const refuseWhileStopping = refusingWhileStopping(app)
    const deps = await makeDeps(app, options)
    app.decorate('startSession', startSessionOf(deps))
    app.decorate('reauthenticated', reauthenticatedOf(deps))
    await app.register((scope) => mountService(scope, { deps, options, refuseWhileStopping }))
  },
  // Fastify's mark of a plugin that decorates the app which registers it.
  { [Symbol.for('skip-override')]: true },
)

async function mountService(
  app: FastifyInstance,
  {
    deps,
    options,
    refuseWhileStopping,
  }: { deps: ServiceDeps; options: AppOptions; refuseWhileStopping: onRequestHookHandler },
): Promise<void> {
  warnAboutProxies(app)
  app.addHook('onRequest', oneAtATimePerConnection)
  // Before CORS, which answers preflights itself.
  app.addHook('onRequest', (_request, reply, done) => {
    void reply.headers(hardeningHeaders)
    done()
  })
  await app.register(cors, {
    // A function, so that a foreign origin gets no CORS header at all; with a list it would get some.
    origin: (origin: string | undefined, answer: (error: null, allowed: string | false) => void) =>
      answer(null, origin !== undefined && isAllowedOrigin(origin, deps.config) ? origin : false),
    credentials: true,
    methods: ['GET', 'POST'],
    allowedHeaders: [
      'authorization',
      'content-type',
      'trpc-accept',
      'last-event-id',
      // Added to every request by what traces pages: OpenTelemetry and Sentry.
      'traceparent',
      'tracestate',
      'baggage',
      'sentry-trace',
    ],
    exposedHeaders: ['retry-after', 'www-authenticate'],
    maxAge: 600,
  })
  // After CORS, so that a page can read the refusal.
  app.addHook('onRequest', refuseWhileStopping)
  // Loads the serializer that refresh-cookie.ts calls, also for routes outside of this scope. It parses no request.
  await app.register(cookie, { hook: false })
  app.setErrorHandler<FastifyError>((error, request, reply) => {
    const publicError = toAuthError(error)
    deps.reportError(publicError, request.routeOptions.url ?? '', parseAddress(request.ip))
    return sendError(reply, publicError)
  })
  app.setNotFoundHandler((_request, reply) =>
    sendError(reply, new AuthError('not_found', 'no such route')),
  )
  await app.register(async (calls) => {
    if (deps.config.rateLimits === 'on') refuseFloods(calls, createFloods(deps.logSecurityEvent))
    await calls.register(async (scope) => mountAuth(scope, deps))
    await calls.register(async (scope) => mountTrpc(scope, deps))
  })
  mountHealth(app, deps)
  mountRevocations(app, deps)
  mountLedger(app, deps)
  mountExport(app, deps)
  mountMetrics(app, deps.metrics, deps.config)
  if (deps.config.hasConsole) await mountConsole(app, options.consoleFolder)
  mountJwks(app, deps)
}
