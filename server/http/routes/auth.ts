import { TRPCError } from '@trpc/server'
import type { FastifyInstance } from 'fastify'
import type { ServiceDeps } from '../../procedures/deps.ts'
import { asUnavailable } from '../../procedures/error-formatter.ts'
import { authMutations } from '../../procedures/router.ts'
import { parseAddress } from '../address.ts'
import { authContextOf, type CallerRules } from '../auth-context.ts'
import { sendError } from '../error-replies.ts'
import { acceptJsonOnly } from '../json-body.ts'

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
      // Compares the procedure, not the URL: `/auth/%6Cogin` is the same call.
      const ctx = authContextOf(deps, { request, reply, rules: rulesOf(path) })
      const mutation = authMutations.get(path)
      // Not an AuthError, which would be logged with the name that the caller chose.
      if (mutation === undefined) throw new TRPCError({ code: 'NOT_FOUND' })
      // No body means no input: `curl -X POST` with the cookie is a refresh.
      const data = await mutation.callDirectly(ctx, request.body === undefined ? {} : request.body)
      return { result: { data } }
    } catch (cause) {
      const error = asUnavailable(cause)
      deps.reportError(error, path, parseAddress(request.ip))
      return sendError(reply, error, path)
    }
  })
}

function rulesOf(path: string): CallerRules {
  if (path === 'sessions') return 'service signs in'
  return path === 'login' || path === 'register' ? 'page signs in' : 'page goes on'
}
