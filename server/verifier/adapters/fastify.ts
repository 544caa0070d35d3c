import type { FastifyInstance } from 'fastify'
import type { Verifier } from '../verifier.ts'
import type { AccessTokenClaims } from '../verify-access-token.ts'
import { failureOf } from '../failure.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** There only on the routes of a scope that registered `fastifyVerifier`. */
    accessToken: AccessTokenClaims
  }
}

/**
 * A plugin: every route of the scope that registers it needs an access token, which handlers read as
 * `request.accessToken`. It is checked before the body is read. Refusals are answered here, 401 or 503;
 * other errors go to Fastify's error handler.
 *
 * @example
 * app.register(async (api) => {
 *   await api.register(fastifyVerifier(verifier))
 *   api.get('/me', (request) => request.accessToken.email)
 * })
 */
export function fastifyVerifier(verifier: Verifier): (app: FastifyInstance) => Promise<void> {
  async function plugin(app: FastifyInstance): Promise<void> {
    if (!app.hasRequestDecorator('accessToken')) app.decorateRequest('accessToken')
    app.addHook('onRequest', async (request, reply) => {
      try {
        request.accessToken = await verifier.verifyAuthorization(request.headers.authorization)
      } catch (error) {
        const failure = failureOf(error)
        if (!failure) throw error
        return reply.code(failure.statusCode).headers(failure.headers).send(failure.body)
      }
      return undefined
    })
  }
  // What `fastify-plugin` does: without it the hook would hold for the plugin's own, empty scope.
  return Object.assign(plugin, { [Symbol.for('skip-override')]: true })
}
