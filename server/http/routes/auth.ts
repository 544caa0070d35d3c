import '@fastify/cookie'
import { getTRPCErrorFromUnknown, TRPCError } from '@trpc/server'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { AuthContext } from '../../procedures/context.ts'
import type { ServiceDeps } from '../../procedures/deps.ts'
import { asUnavailable } from '../../procedures/error-formatter.ts'
import { authMutations } from '../../procedures/router.ts'
import { parseAddress } from '../address.ts'
import { callerOf } from '../caller.ts'
import { sendError } from '../error-replies.ts'
import { acceptJsonOnly } from '../json-body.ts'
import { checkOrigin } from '../origin.ts'
import { refreshCookieOf, sentRefreshCookies } from '../refresh-cookie.ts'

/** A refresh that has waited longer is not carried out: the client retries after ten seconds. */
const maxWaitMs = 8_000

/**
 * `POST /auth/:procedure`: the only paths that read or write the refresh cookie.
 *
 * They use tRPC's envelope, so that a tRPC client can call them, but not tRPC's handler. It would batch
 * them or stream them, which drops the cookie of a completed refresh, and it costs three quarters of the
 * time. A rotation that has begun is completed even if the client disconnects.
 */
export async function mountAuth(app: FastifyInstance, deps: ServiceDeps): Promise<void> {
  acceptJsonOnly(app, (text) => (text === '' ? {} : (JSON.parse(text) as unknown)))

  app.post<{ Params: { procedure: string } }>('/auth/:procedure', async (request, reply) => {
    const path = request.params.procedure
    try {
      const ctx: AuthContext = contextOf(deps, { request, reply, path })
      const mutation = authMutations.get(path)
      // Not an AuthError, which would be logged with the name that the caller chose.
      if (mutation === undefined) throw new TRPCError({ code: 'NOT_FOUND' })
      // No body means no input: `curl -X POST` with the cookie is a refresh.
      const data = await mutation.callDirectly(ctx, request.body === undefined ? {} : request.body)
      return { result: { data } }
    } catch (cause) {
      const error = asUnavailable(getTRPCErrorFromUnknown(cause))
      deps.reportError(error, path, parseAddress(request.ip))
      return sendError(reply, error, path)
    }
  })
}

/** @throws {AuthError} `origin_not_allowed`: before the cookie is used */
function contextOf(
  deps: ServiceDeps,
  { request, reply, path }: { request: FastifyRequest; reply: FastifyReply; path: string },
): AuthContext {
  const values = sentRefreshCookies(request, deps.config)
  const hasCookie = values.length > 0
  // Compares the procedure, not the URL: `/auth/%6Cogin` is the same call.
  const beginsSession = path === 'login' || path === 'register'
  if (hasCookie || beginsSession) checkOrigin(request, deps.config, { isOriginRequired: hasCookie })
  const arrivedAt = performance.now()
  return {
    deps,
    ...callerOf(request),
    isClientWaiting: () =>
      !request.raw.socket.destroyed && performance.now() - arrivedAt < maxWaitMs,
    // Where a session begins, any cookie that is there already may be foreign.
    cookie: refreshCookieOf(
      { values, mayBeForeign: values.length > (beginsSession ? 0 : 1) },
      reply,
      deps.config,
    ),
  }
}
