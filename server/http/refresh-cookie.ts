import type { FastifyReply, FastifyRequest } from 'fastify'
import { AuthError } from '../errors.ts'
import type { RefreshCookie } from '../procedures/context.ts'

/** What a cookie of ours looks like; `isSecure` when the service is reached by https. */
function refreshCookieName(isSecure: boolean): string {
  return isSecure ? '__Secure-refresh_token' : 'refresh_token'
}

/**
 * The values of all cookies of our name. Read from the header itself: the parsed form keeps the first of
 * equal names and decodes the value.
 *
 * Only spaces and tabs may come before a pair. `trim` would drop a no-break space as well, and take a
 * cookie for ours that a neighbour could set, because to the browser its name has no `__Secure-` in front.
 */
export function sentRefreshCookies({ headers }: FastifyRequest, isSecure: boolean): string[] {
  const before = `${refreshCookieName(isSecure)}=`
  return (headers.cookie ?? '')
    .split(/;[ \t]*/)
    .filter((pair) => pair.startsWith(before))
    .map((pair) => pair.slice(before.length))
}

/**
 * @param sent what `sentRefreshCookies` found
 * @throws {AuthError} `validation_failed` for two cookies of our name: which one is the browser's own
 * cannot be known (RFC 6265 §4.2.2)
 */
export function refreshCookieOf(
  sent: readonly string[],
  reply: FastifyReply,
  isSecure: boolean,
): RefreshCookie {
  if (sent.length > 1) throw new AuthError('validation_failed', `${sent.length} refresh cookies`)
  const name = refreshCookieName(isSecure)
  const attributes = {
    httpOnly: true,
    secure: isSecure,
    sameSite: 'strict',
    path: '/auth',
  } as const
  // Not `setCookie`, which reads all the cookies of the request first.
  const send = (value: string, lifetime: { maxAge: number; expires?: Date }) =>
    void reply.header(
      'set-cookie',
      reply.server.serializeCookie(name, value, { ...attributes, ...lifetime }),
    )
  return {
    value: sent[0] ?? null,
    set: (token, remainingMs) => send(token, { maxAge: Math.floor(remainingMs / 1000) }),
    // The attributes again: a browser drops a clearing cookie of a `__Secure-` name without `Secure`.
    clear: () => send('', { maxAge: 0, expires: new Date(0) }),
  }
}
