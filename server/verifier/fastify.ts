import type { FastifyInstance } from 'fastify'
import type { Requirements } from './auth-age.ts'
import type { Verifier } from './verifier.ts'
import type { AccessTokenClaims } from './verify-access-token.ts'
import { failureOf } from './failure.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Set only on routes of a scope that registered `fastifyVerifier`. */
    accessToken: AccessTokenClaims
  }
}

/**
 * A plugin: every route of the scope that registers it requires an access token, and handlers read its claims
 * as `request.accessToken`. The token is checked before the body is read. Refused requests are answered with
 * 401 or 503. Other errors go to Fastify's error handler.
 *
 * @param requirements What every route of the scope asks for; register another scope for one route.
 * @example
 * app.register(async (api) => {
 *   await api.register(fastifyVerifier(verifier))
 *   api.get('/me', (request) => request.accessToken.email)
 * })
 */
export function fastifyVerifier(
  verifier: Verifier,
  requirements?: Requirements,
): (app: FastifyInstance) => Promise<void> {
  async function plugin(app: FastifyInstance): Promise<void> {
    if (!app.hasRequestDecorator('accessToken')) app.decorateRequest('accessToken')
    app.addHook('onRequest', async (request, reply) => {
      try {
        const { authorization } = request.headers
        request.accessToken = await verifier.verifyAuthorization(authorization, requirements)
      } catch (error) {
        const failure = failureOf(error)
        if (!failure) throw error
        return reply.code(failure.statusCode).headers(failure.headers).send(failure.body)
      }
      return undefined
    })
  }
  // As `fastify-plugin` does it. Otherwise the hook would apply only to the plugin's own, empty scope.
  return Object.assign(plugin, { [Symbol.for('skip-override')]: true })
}
