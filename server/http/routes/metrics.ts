import type { FastifyInstance, FastifyRequest } from 'fastify'
import { isLoopback } from '../../config/values.ts'
import { AuthError } from '../../errors.ts'
import type { Metrics } from '../../observability/metrics.ts'
import { hasSharedToken } from '../shared-token.ts'

/** `/metrics` in Prometheus' text format, for loopback and METRICS_TOKEN; others get 404. */
export function mountMetrics(
  app: FastifyInstance,
  { registry }: Metrics,
  token: string | undefined,
): void {
  app.get('/metrics', async (request, reply) => {
    if (!isLocal(request) && !hasSharedToken(request, token))
      throw new AuthError('not_found', 'neither loopback nor METRICS_TOKEN')
    return reply.type(registry.contentType).send(await registry.metrics())
  })
}

/** A proxy on this machine connects from loopback too; its forwarding headers or public host give it away. */
function isLocal(request: FastifyRequest): boolean {
  const { headers, socket } = request
  const isForwarded = headers['x-forwarded-for'] !== undefined || headers.forwarded !== undefined
  const address = (socket.remoteAddress ?? '').replace('::ffff:', '')
  return isLoopback(address) && isLoopback(request.hostname) && !isForwarded
}
