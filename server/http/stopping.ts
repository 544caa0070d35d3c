import type { FastifyInstance, onRequestHookHandler } from 'fastify'
import { AuthError } from '../errors.ts'

/**
 * Refuses requests that arrive on open connections while the app closes, so that their callers try again elsewhere. Call
 * it before anything else waits in `preClose`: the hooks run one after the other.
 *
 * Fastify's own answer to them has another shape: the app that this runs in turns it off (`return503OnClosing: false`).
 *
 * @returns the hook that refuses
 */
export function refusingWhileStopping(app: FastifyInstance): onRequestHookHandler {
  let isStopping = false
  app.addHook('preClose', async () => void (isStopping = true))
  return (_request, _reply, done) => {
    if (!isStopping) return done()
    done(new AuthError('service_unavailable', 'the service is stopping', { retryAfterSeconds: 1 }))
  }
}
