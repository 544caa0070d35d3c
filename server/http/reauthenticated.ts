import type { TRPCError } from '@trpc/server'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { ServiceDeps } from '../procedures/deps.ts'
import {
  provedAgain,
  reauthenticationInput,
  replaceToken,
  takeProof,
  type Reauthenticated,
} from '../procedures/reauthenticate.ts'
import { parsed, servingAppRoute } from './app-route.ts'
import { authContextOf } from './auth-context.ts'
import { envelopeOf } from './error-replies.ts'

/** What the app has just found out about the user of the request's session, by any means of its own. */
export type ProvedAgain = {
  /** How the user proved who they are: RFC 8176, such as `hwk`, or words of your own. One to ten. */
  readonly methods: readonly string[]
  /** When, in epoch milliseconds. Now unless given, or if it is in the future. */
  readonly authenticatedAt?: number | undefined
  /**
   * The id of the user whom the proof is about. Give it unless the proof itself is bound to the session: a proof of
   * another user is then refused.
   */
  readonly user?: string | undefined
}

/** Why the session got no new token. */
export type RefusedProof = Error & {
  readonly statusCode: number
  /** What the route should answer: the client understands this form, and no other. */
  readonly body: ReturnType<typeof envelopeOf>
}

/**
 * Does what `POST /auth/reauthenticate` does with a password, in a route of the app's own, which then sends what this
 * returns. The request's body has the fields of the attempt, as the client's `reauthenticate` sends them. For the cookie
 * to come with the request, the route has to be below `/auth/`, or the service has `COOKIE_PREFIX=host`.
 *
 * @throws {RefusedProof} with the reasons of a refresh, and `invalid_credentials` for another `user`
 */
export type ReauthenticateBy = (
  request: FastifyRequest,
  reply: FastifyReply,
  proof: ProvedAgain,
) => Promise<Reauthenticated>

declare module 'fastify' {
  interface FastifyInstance {
    /** See `ReauthenticateBy`. */
    reauthenticated: ReauthenticateBy
  }
}

/** The proof's own fields are for the app's route. */
const attemptInBody = z.object(reauthenticationInput.shape)

export function reauthenticatedOf(deps: ServiceDeps): ReauthenticateBy {
  return (request, reply, proof) =>
    servingAppRoute(deps, { request, name: 'reauthenticated', detailsOf }, async () => {
      const proved = parsed(provedAgain, proof)
      const ctx = authContextOf(deps, { request, reply, rules: 'page goes on' })
      void reply.header('cache-control', 'no-store')
      const attempt = parsed(attemptInBody, request.body)
      return replaceToken(ctx, attempt, (token) => takeProof(ctx, token, proved))
    })
}

function detailsOf(error: TRPCError): Pick<RefusedProof, 'body'> {
  return { body: envelopeOf(error) }
}
