import { fastifyRequestHandler } from '@trpc/server/adapters/fastify'
import type { AnyProcedure, TRPCError } from '@trpc/server'
import { getHTTPStatusCodeFromError } from '@trpc/server/http'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { AuthError } from '../../errors.ts'
import { bearerOf, type Bearer } from '../../procedures/bearer.ts'
import type { ServiceDeps } from '../../procedures/deps.ts'
import { asUnavailable, toPublicError } from '../../procedures/error-formatter.ts'
import { appRouter } from '../../procedures/router.ts'
import { parseAddress } from '../address.ts'
import { authorizationOf } from '../authorization.ts'
import { callerOf } from '../caller.ts'
import { answerDirectly, directCallsIn, type DirectAnswer } from '../direct-calls.ts'
import { envelopeOf } from '../error-replies.ts'
import { acceptJsonOnly } from '../json-body.ts'
import { bearerChallenge, invalidTokenChallenge, stepUpChallenge } from '../../verifier/failure.ts'

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
    const authorization = authorizationOf(request)
    const calls = callsOf(request, path)
    const { isBatch, names } = calls
    const bearer = bearerOf(deps, { authorization, calls: names.length })
    const onError = (error: TRPCError, procedure: string) =>
      deps.reportError(error, procedure, parseAddress(request.ip))
    // tRPC answers what is no call, also without a token: 404, 405, or 400 for a batch that is too large.
    if (
      names.length <= maxBatchSize &&
      names.every((name) => methods.get(name) === request.method)
    ) {
      const error = await refusalOf(bearer)
      if (error !== null) {
        onError(error, path)
        return sendRefusal(reply, error, isBatch ? names : path)
      }
      const direct = directCallsIn(request, calls)
      if (direct !== null) {
        const ctx = { deps, bearer, ...callerOf(request) }
        return sendAnswer(reply, await answerDirectly(direct, ctx, { reply, onError }))
      }
    }
    await fastifyRequestHandler({
      router: appRouter,
      req: request,
      res: reply,
      path,
      maxBatchSize,
      createContext: () => ({ deps, bearer, ...callerOf(request) }),
      onError: ({ error, path: procedure }) => onError(error, procedure ?? ''),
      responseMeta: ({ errors, paths }) => {
        const headers = new Headers(headersOf(reply, errors))
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

/** The names of the calls in one request, as tRPC reads them. */
function callsOf({ query }: FastifyRequest, path: string): { isBatch: boolean; names: string[] } {
  const isBatch = (query as { batch?: unknown }).batch === '1'
  return { isBatch, names: isBatch ? path.split(',') : [path] }
}

const methodOf = { query: 'GET', mutation: 'POST' }

/**
 * The request method of each procedure by its full name, such as `admin.users.list`. A stream is not among them: its
 * client expects the refusal as an event.
 */
const methods = new Map(
  Object.entries(appRouter._def.procedures as unknown as Record<string, AnyProcedure>).flatMap(
    ([name, { _def }]) =>
      _def.type === 'subscription' ? [] : [[name, methodOf[_def.type]] as const],
  ),
)

/**
 * Why no call of the request is allowed; null if the access token is valid. To ask before tRPC parses the request, once
 * for a batch, takes a third of the time: a client that sends thousands of refused requests keeps others waiting less.
 */
async function refusalOf(bearer: Bearer): Promise<TRPCError | null> {
  try {
    await bearer.claims()
    return null
  } catch (error) {
    return asUnavailable(error)
  }
}

/** Answers as tRPC would. `path` is the list of names for a batch. */
function sendRefusal(
  reply: FastifyReply,
  error: TRPCError,
  path: string | readonly string[],
): FastifyReply {
  return reply
    .code(getHTTPStatusCodeFromError(error))
    .headers(headersOf(reply, [error]))
    .send(
      typeof path === 'string'
        ? envelopeOf(error, path)
        : path.map((name) => envelopeOf(error, name)),
    )
}

/** The headers that tRPC sends, and the length of the body instead of its chunks. */
function sendAnswer(reply: FastifyReply, { status, errors, body }: DirectAnswer): FastifyReply {
  const headers = headersOf(reply, errors)
  const { vary } = headers
  return reply
    .code(status)
    .headers({ 'content-type': 'application/json', ...headers })
    .header('vary', vary === undefined ? trpcVary : `${trpcVary}, ${vary}`)
    .serializer(asIs)
    .send(body)
}

const trpcVary = 'trpc-accept, accept'

/** Without it, Fastify would append a charset to the content type. */
const asIs = (body: unknown) => body as string

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
  // A path has no credentials.
  if (target.startsWith('/trpc/')) return true
  const { username, password } = new URL(target, base)
  return username === '' && password === ''
}

/** Keeps the `Vary` that CORS has set, which tRPC would replace. */
function headersOf(reply: FastifyReply, errors: readonly TRPCError[]): Record<string, string> {
  const headers: Record<string, string> = { 'cache-control': 'no-store' }
  const vary = reply.getHeader('vary')
  if (vary !== undefined) headers['vary'] = String(vary)
  for (const { reason, message, extras } of errors.map(toPublicError)) {
    // A wrong current password is a 401 too, and every 401 names a scheme (RFC 9110 §15.5.2).
    if (reason === 'access_token_missing' || reason === 'invalid_credentials')
      headers['www-authenticate'] = bearerChallenge
    else if (reason.startsWith('access_token_'))
      headers['www-authenticate'] = invalidTokenChallenge(message)
    if (extras.maxAgeSeconds !== undefined)
      headers['www-authenticate'] = stepUpChallenge(extras.maxAgeSeconds)
    if (extras.retryAfterSeconds !== undefined)
      headers['retry-after'] = String(extras.retryAfterSeconds)
  }
  return headers
}
