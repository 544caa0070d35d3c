import type { FastifyInstance } from 'fastify'
import { AuthError } from '../errors.ts'

/**
 * Refuses requests that arrive on open connections while the app closes, so that their callers try again elsewhere.
 *
 * Fastify's own answer to them has another shape: the app that this runs in turns it off (`return503OnClosing: false`).
 */
export function refuseWhileStopping(app: FastifyInstance): void {
  let isStopping = false
  app.addHook('preClose', async () => void (isStopping = true))
  app.addHook('onRequest', (_request, _reply, done) => {
    if (!isStopping) return done()
    done(new AuthError('service_unavailable', 'the service is stopping', { retryAfterSeconds: 1 }))
  })
}
