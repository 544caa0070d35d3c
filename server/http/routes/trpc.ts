import { fastifyRequestHandler } from '@trpc/server/adapters/fastify'
import type { TRPCError } from '@trpc/server'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { ServiceDeps } from '../../procedures/deps.ts'
import { AuthError } from '../../errors.ts'
import { acceptJsonOnly } from '../json-body.ts'
import { callerOf } from '../caller.ts'
import { appRouter } from '../../procedures/router.ts'
import { toPublicError } from '../../procedures/error-formatter.ts'
import { bearerChallenge, invalidTokenChallenge } from '../../verifier/failure.ts'

/** More calls than this in one request are refused: a page asks for a handful. */
const maxBatchSize = 10

/**
 * `/trpc/:path`: everything that needs an access token; it never looks at the cookie.
 *
 * tRPC's own handler, registered by hand: its plugin would also take `multipart/form-data` (which any
 * page may send) without a limit on its size.
 */
export async function mountTrpc(app: FastifyInstance, deps: ServiceDeps): Promise<void> {
  acceptJsonOnly(app, (text) => text)

  const handle = async (request: FastifyRequest, reply: FastifyReply) => {
    const { path } = request.params as { path: string }
    if (!hasUrl(request)) throw new AuthError('validation_failed', 'no URL can be made of it')
    // Of two, Node would give us the first, and a proxy may have looked at the other (RFC 6750 §2).
    if ((request.raw.headersDistinct['authorization']?.length ?? 0) > 1)
      throw new AuthError('validation_failed', 'two access tokens')
    await fastifyRequestHandler({
      router: appRouter,
      req: request,
      res: reply,
      path,
      maxBatchSize,
      createContext: () => ({
        deps,
        caller: callerOf(request),
        authorization: request.headers.authorization,
      }),
      onError: ({ error, path: procedure }) => deps.reportError(error, procedure ?? '', request.ip),
      responseMeta: ({ errors, paths }) => {
        const headers = headersOf(reply, errors)
        // What is refused before it is understood, tRPC sends as text.
        if (paths === undefined) headers.set('content-type', 'application/json')
        return { headers }
      },
    })
  }
  // Without HEAD, which tRPC answers with an error of its own.
  app.get('/trpc/:path', { exposeHeadRoute: false }, handle)
  app.post('/trpc/:path', handle)
}

/**
 * Whether tRPC, which alone makes a URL of what is called and of `Host`, can make a request of that too:
 * else it would be an error of ours. The request line may name a host as well (RFC 9112 §3.2.2), and
 * with it a user, which no `Request` may have.
 */
function hasUrl({ headers, raw }: FastifyRequest): boolean {
  const { host = 'localhost' } = headers
  const target = raw.url ?? ''
  const base = `http://${host}`
  if (!/^[\w.:[\]-]+$/.test(host) || !URL.canParse(target, base)) return false
  const { username, password } = new URL(target, base)
  return username === '' && password === ''
}

/** Appended to what CORS has set, which tRPC's own `Vary` would replace. */
function headersOf(reply: FastifyReply, errors: readonly TRPCError[]): Headers {
  const headers = new Headers({ 'cache-control': 'no-store' })
  const vary = reply.getHeader('vary')
  if (vary !== undefined) headers.append('vary', String(vary))
  for (const { reason, message, extras } of errors.map(toPublicError)) {
    // A wrong current password is a 401 as well, and each names the scheme (RFC 9110 §15.5.2).
    if (reason === 'access_token_missing' || reason === 'invalid_credentials')
      headers.set('www-authenticate', bearerChallenge)
    else if (reason.startsWith('access_token_'))
      headers.set('www-authenticate', invalidTokenChallenge(message))
    if (extras.retryAfterSeconds !== undefined)
      headers.set('retry-after', String(extras.retryAfterSeconds))
  }
  return headers
}
