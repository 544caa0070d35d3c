import { fastifyRequestHandler } from '@trpc/server/adapters/fastify'
import type { TRPCError } from '@trpc/server'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { AuthError } from '../../errors.ts'
import { bearerOf } from '../../procedures/bearer.ts'
import type { ServiceDeps } from '../../procedures/deps.ts'
import { toPublicError } from '../../procedures/error-formatter.ts'
import { appRouter } from '../../procedures/router.ts'
import { parseAddress } from '../address.ts'
import { callerOf } from '../caller.ts'
import { acceptJsonOnly } from '../json-body.ts'
import { bearerChallenge, invalidTokenChallenge } from '../../verifier/failure.ts'

/** Larger batches are refused; a page needs a handful of calls at once. */
const maxBatchSize = 10

/**
 * `/trpc/:path`: everything that needs an access token. It never reads the cookie.
 *
 * tRPC's handler is registered here and not by its plugin, which would also accept `multipart/form-data`:
 * any page may send that across origins, and the plugin does not limit its size.
 */
export async function mountTrpc(app: FastifyInstance, deps: ServiceDeps): Promise<void> {
  acceptJsonOnly(app, (text) => text)

  const handle = async (request: FastifyRequest, reply: FastifyReply) => {
    const { path } = request.params as { path: string }
    if (!hasUrl(request))
      throw new AuthError('validation_failed', 'the request target is not a URL')
    // Node would use the first of two headers where a proxy may have checked the second (RFC 6750 §2).
    if ((request.raw.headersDistinct['authorization']?.length ?? 0) > 1)
      throw new AuthError('validation_failed', 'two Authorization headers')
    await fastifyRequestHandler({
      router: appRouter,
      req: request,
      res: reply,
      path,
      maxBatchSize,
      createContext: ({ info }) => ({
        deps,
        ...callerOf(request),
        bearer: bearerOf(deps, {
          authorization: request.headers.authorization,
          calls: info.calls.length,
        }),
      }),
      onError: ({ error, path: procedure }) =>
        deps.reportError(error, procedure ?? '', parseAddress(request.ip)),
      responseMeta: ({ errors, paths }) => {
        const headers = headersOf(reply, errors)
        // tRPC sends an error as text if it could not parse the request.
        if (paths === undefined) headers.set('content-type', 'application/json')
        return { headers }
      },
    })
  }
  // Without HEAD, which tRPC would answer before it checks anything.
  app.get('/trpc/:path', { exposeHeadRoute: false }, handle)
  app.post('/trpc/:path', handle)
}

/**
 * Whether tRPC can build a `Request` from the request target and `Host`. Where it could not, the caller
 * would get an internal error. The target may be absolute (RFC 9112 §3.2.2) and contain credentials,
 * which a `Request` does not accept.
 */
function hasUrl({ headers, raw }: FastifyRequest): boolean {
  const { host = 'localhost' } = headers
  const target = raw.url ?? ''
  const base = `http://${host}`
  if (!/^[\w.:[\]-]+$/.test(host) || !URL.canParse(target, base)) return false
  const { username, password } = new URL(target, base)
  return username === '' && password === ''
}

/** Keeps the `Vary` that CORS has set, which tRPC would replace. */
function headersOf(reply: FastifyReply, errors: readonly TRPCError[]): Headers {
  const headers = new Headers({ 'cache-control': 'no-store' })
  const vary = reply.getHeader('vary')
  if (vary !== undefined) headers.append('vary', String(vary))
  for (const { reason, message, extras } of errors.map(toPublicError)) {
    // A wrong current password is a 401 too, and every 401 names a scheme (RFC 9110 §15.5.2).
    if (reason === 'access_token_missing' || reason === 'invalid_credentials')
      headers.set('www-authenticate', bearerChallenge)
    else if (reason.startsWith('access_token_'))
      headers.set('www-authenticate', invalidTokenChallenge(message))
    if (extras.retryAfterSeconds !== undefined)
      headers.set('retry-after', String(extras.retryAfterSeconds))
  }
  return headers
}
