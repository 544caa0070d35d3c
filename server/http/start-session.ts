import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { ServiceDeps } from '../procedures/deps.ts'
import type { Grant } from '../procedures/grant.ts'
import { beginSession, provedSignIn } from '../procedures/proved-sign-in.ts'
import { parsed, servingAppRoute } from './app-route.ts'
import { authContextOf } from './auth-context.ts'

/** A user whom the app has just signed in, by any means of its own. */
export type ProvedSignIn = {
  /** The user's id. The directory says who that is now, and whether the user is disabled. */
  readonly user: string
  /** How the user proved who they are: RFC 8176, such as `pwd`, or words of your own. One to ten. */
  readonly methods: readonly string[]
  /** When, in epoch milliseconds: the `auth_time` of an identity provider. Now unless given, or if it is in the future. */
  readonly authenticatedAt?: number | undefined
  /** `cookie`: the reply sets the refresh cookie. `body`: the result has the refresh token. */
  readonly transport: 'cookie' | 'body'
  readonly deviceName?: string | undefined
}

/**
 * Starts a session as `login` does, in a route of the app's own, which then sends its reply. It checks the `Origin` that
 * `login` checks.
 *
 * @throws an error with `reason` and `statusCode`: `sign_in_refused` for a user who is unknown or disabled,
 * `origin_not_allowed`, `session_revoked` when all sessions of the user were ended meanwhile, `too_many_attempts`
 */
export type StartSession = (
  request: FastifyRequest,
  reply: FastifyReply,
  signIn: ProvedSignIn,
) => Promise<Grant>

declare module 'fastify' {
  interface FastifyInstance {
    /** See `StartSession`. */
    startSession: StartSession
  }
}

/** A later one, which no clock shows, counts as now. */
const lastInstant = Date.UTC(9999, 11, 31)

const input = provedSignIn.extend({
  authenticatedAt: z
    .number()
    .int()
    .min(0)
    .transform((at) => Math.min(at, lastInstant))
    .optional(),
})

export function startSessionOf(deps: ServiceDeps): StartSession {
  return (request, reply, signIn) =>
    servingAppRoute(deps, { request, name: 'startSession' }, async () => {
      const proved = parsed(input, signIn)
      const ctx = authContextOf(deps, { request, reply, rules: 'page signs in' })
      void reply.header('cache-control', 'no-store')
      return beginSession(ctx, proved)
    })
}
