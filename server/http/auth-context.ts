import type { FastifyReply, FastifyRequest } from 'fastify'
import { AuthError } from '../errors.ts'
import type { AuthContext } from '../procedures/context.ts'
import type { ServiceDeps } from '../procedures/deps.ts'
import { callerOf } from './caller.ts'
import { checkOrigin } from './origin.ts'
import { refreshCookieOf, sentRefreshCookies } from './refresh-cookie.ts'
import { hasSharedToken } from './shared-token.ts'

/** A refresh that has waited longer is not carried out: the client retries after ten seconds. */
const maxWaitMs = 8_000

/**
 * Who may call: a page that has a session, a page or program that begins one, or a service that begins one for its
 * caller.
 */
export type CallerRules = 'page goes on' | 'page signs in' | 'service signs in'

/**
 * What a call that reads or writes the refresh cookie works with.
 *
 * @throws {AuthError} `origin_not_allowed` or `sign_in_refused`: before the cookie is used
 */
export function authContextOf(
  deps: ServiceDeps,
  { request, reply, rules }: { request: FastifyRequest; reply: FastifyReply; rules: CallerRules },
): AuthContext {
  const values = sentRefreshCookies(request, deps.config)
  const hasCookie = values.length > 0
  const beginsSession = rules !== 'page goes on'
  if (rules === 'service signs in') mustBeSignInService(request, deps)
  else if (hasCookie || beginsSession)
    // A browser sends no Origin with the GET that an identity provider redirects it to.
    checkOrigin(request, deps.config, { isOriginRequired: hasCookie && request.method !== 'GET' })
  const arrivedAt = performance.now()
  return {
    deps,
    isClientWaiting: () =>
      !request.raw.socket.destroyed && performance.now() - arrivedAt < maxWaitMs,
    // Where a session begins, any cookie that is there already may be foreign.
    cookie: refreshCookieOf(
      { values, mayBeForeign: values.length > (beginsSession ? 0 : 1) },
      reply,
      deps.config,
    ),
    ...callerOf(request),
  }
}

/** A page never has the token. One that sends it has leaked it, so its request is refused as well. */
function mustBeSignInService(request: FastifyRequest, { config }: ServiceDeps): void {
  const { signInToken } = config
  if (signInToken === undefined) throw new AuthError('not_found', 'SIGN_IN_TOKEN is not set')
  if (request.headers.origin !== undefined)
    throw new AuthError('sign_in_refused', 'a page sent the request')
  if (!hasSharedToken(request, signInToken))
    throw new AuthError('sign_in_refused', 'not SIGN_IN_TOKEN')
}
