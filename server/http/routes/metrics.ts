import fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import type { Config } from '../../config/config.ts'
import { withListenErrors } from '../../config/listen-address.ts'
import { isLoopback } from '../../config/values.ts'
import { AuthError } from '../../errors.ts'
import type { Metrics } from '../../observability/metrics.ts'
import { hasSharedToken } from '../shared-token.ts'

type MetricsConfig = Pick<Config, 'metricsToken' | 'metricsPort' | 'publicUrl'>

/**
 * The metrics in Prometheus' text format: at `/metrics` for callers with METRICS_TOKEN, and on METRICS_PORT of
 * loopback. Without that port, a service whose PUBLIC_URL is loopback also answers loopback at `/metrics`.
 */
export function mountMetrics(
  app: FastifyInstance,
  metrics: Metrics,
  { metricsToken, metricsPort, publicUrl }: MetricsConfig,
): void {
  // A request from loopback proves nothing where a proxy on this machine may have forwarded it.
  const answersLoopback = metricsPort === undefined && isLoopback(new URL(publicUrl).hostname)
  app.get('/metrics', async (request, reply) => {
    const isAllowed = (answersLoopback && isLocal(request)) || hasSharedToken(request, metricsToken)
    if (!isAllowed) throw new AuthError('not_found', 'neither loopback nor METRICS_TOKEN')
    return reply.type(metrics.registry.contentType).send(await metrics.registry.metrics())
  })
  if (metricsPort !== undefined) listenOnLoopback(app, metrics, metricsPort)
}

/** Opens METRICS_PORT before the service itself listens, and closes it with the app. */
function listenOnLoopback(app: FastifyInstance, { registry }: Metrics, port: number): void {
  const address = { host: '127.0.0.1', port, variable: 'METRICS_PORT' } as const
  const listener = fastify({ forceCloseConnections: true })
  listener.get('/metrics', async ({ hostname }, reply) => {
    // A page whose host name resolves to loopback (DNS rebinding) sends its own name.
    if (!isLoopback(hostname)) return reply.callNotFound()
    return reply.type(registry.contentType).send(await registry.metrics())
  })
  app.addHook('onReady', async () => {
    await withListenErrors(address, () => listener.listen(address))
  })
  app.addHook('onClose', async () => listener.close())
}

/** Also where PUBLIC_URL is loopback, a proxy that says what it forwards gets nothing. */
function isLocal(request: FastifyRequest): boolean {
  const { headers, socket } = request
  const isForwarded = headers['x-forwarded-for'] !== undefined || headers.forwarded !== undefined
  const address = (socket.remoteAddress ?? '').replace('::ffff:', '')
  return isLoopback(address) && isLoopback(request.hostname) && !isForwarded
}
