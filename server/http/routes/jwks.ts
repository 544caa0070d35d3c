import type { FastifyInstance } from 'fastify'
import type { ServiceDeps } from '../../procedures/deps.ts'
import { jwksMaxAgeSeconds } from '../../tokens/key-changes.ts'

/** `GET /.well-known/jwks.json`: the public keys (RFC 7517 §5), the only answer that caches may serve. */
export function mountJwks(
  app: FastifyInstance,
  { signingKeys }: Pick<ServiceDeps, 'signingKeys'>,
): void {
  app.get('/.well-known/jwks.json', (_request, reply) =>
    reply.header('cache-control', `public, max-age=${jwksMaxAgeSeconds}`).send(signingKeys.jwks()),
  )
}
