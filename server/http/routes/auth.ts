import '@fastify/cookie'
import { getTRPCErrorFromUnknown, TRPCError } from '@trpc/server'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { ServiceDeps } from '../../procedures/deps.ts'
import { sendError } from '../error-replies.ts'
import { acceptJsonOnly } from '../json-body.ts'
import { checkOrigin } from '../origin.ts'
import { callerOf } from '../caller.ts'
import { refreshCookieOf, sentRefreshCookies } from '../refresh-cookie.ts'
import { authMutations } from '../../procedures/router.ts'
import { asUnavailable } from '../../procedures/error-formatter.ts'
import type { AuthContext } from '../../procedures/context.ts'

/** A refresh that waited longer is not carried out: its caller asks again after ten seconds. */
const maxWaitMs = 8_000

/**
 * `POST /auth/:procedure`: the only paths that read or write the refresh cookie.
 *
 * In tRPC's envelope, so that a tRPC client can call them, but straight from the route: tRPC's own handler
 * would batch them, stream them (and drop the cookie of a refresh that was carried out), and costs three
 * quarters of the time. A rotation that has begun is carried out, whoever still listens.
 */
export async function mountAuth(app: FastifyInstance, deps: ServiceDeps): Promise<void> {
  acceptJsonOnly(app, (text) => (text === '' ? {} : (JSON.parse(text) as unknown)))

  app.post<{ Params: { procedure: string } }>('/auth/:procedure', async (request, reply) => {
    const path = request.params.procedure
    try {
      const ctx: AuthContext = contextOf(deps, { request, reply, path })
      const mutation = authMutations.get(path)
      // No error of ours, which would be logged with what the caller calls it.
      if (mutation === undefined) throw new TRPCError({ code: 'NOT_FOUND' })
      // Who sends nothing asks for nothing: `curl -X POST` with the cookie is a refresh.
      const data = await mutation.call(ctx, request.body === undefined ? {} : request.body)
      return { result: { data } }
    } catch (cause) {
      const error = asUnavailable(getTRPCErrorFromUnknown(cause))
      deps.reportError(error, path, request.ip)
      return sendError(reply, error, path)
    }
  })
}

/** @throws {AuthError} `origin_not_allowed`, `validation_failed`: before the cookie is believed */
function contextOf(
  deps: ServiceDeps,
  { request, reply, path }: { request: FastifyRequest; reply: FastifyReply; path: string },
): AuthContext {
  const { isSecure, allowedOrigins, publicUrl } = deps.config
  const sentCookies = sentRefreshCookies(request, isSecure)
  const hasCookie = sentCookies.length > 0
  // The procedure that is called, not the URL: `/auth/%6Cogin` is the same call.
  const beginsSession = path === 'login' || path === 'register'
  if (hasCookie || beginsSession)
    checkOrigin(request, { ownOrigin: publicUrl, allowedOrigins, isOriginRequired: hasCookie })
  const arrivedAt = performance.now()
  return {
    deps,
    caller: callerOf(request),
    isClientWaiting: () =>
      !request.raw.socket.destroyed && performance.now() - arrivedAt < maxWaitMs,
    // After the origin: a page that may not ask is not told of two cookies.
    cookie: refreshCookieOf(sentCookies, reply, isSecure),
  }
}
