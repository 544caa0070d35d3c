import type { FastifyInstance } from 'fastify'
import { exportLedger } from '../../procedures/admin/export.ts'
import { bearerOf } from '../../procedures/bearer.ts'
import type { ServiceDeps } from '../../procedures/deps.ts'
import { asUnavailable } from '../../procedures/error-formatter.ts'
import { bearerChallenge, invalidTokenChallenge } from '../../verifier/failure.ts'
import { AuthError } from '../../errors.ts'
import { authorizationOf } from '../authorization.ts'
import { callerOf } from '../caller.ts'
import { abortedWithout } from '../direct-calls.ts'

/** `GET /admin/export?from=…&to=…`: the ledger as JSON Lines, for an admin's access token. */
export function mountExport(app: FastifyInstance, deps: ServiceDeps): void {
  // Without HEAD, which would read the whole ledger.
  app.get('/admin/export', { exposeHeadRoute: false }, async (request, reply) => {
    const authorization = authorizationOf(request)
    const bearer = bearerOf(deps, { authorization, calls: 1 })
    const call = {
      bearer,
      caller: callerOf(request).caller,
      query: request.query,
      signal: abortedWithout(reply),
    }
    try {
      const lines = await exportLedger(deps, call)
      // The answer has begun, so the app's error handler does not get it.
      lines.once('error', (error) => {
        if (call.signal.aborted) return
        const reported = asUnavailable(error)
        deps.reportError(reported, '/admin/export', call.caller.ip)
      })
      return await reply
        .headers({
          'content-type': 'application/jsonl',
          'content-disposition': 'attachment; filename="ledger.jsonl"',
          'x-accel-buffering': 'no',
          // A closing server waits for keep-alive connections.
          connection: 'close',
        })
        .send(lines)
    } catch (error) {
      if (error instanceof AuthError && error.reason.startsWith('access_token_'))
        void reply.header(
          'www-authenticate',
          authorization === undefined ? bearerChallenge : invalidTokenChallenge(),
        )
      throw error
    }
  })
}
