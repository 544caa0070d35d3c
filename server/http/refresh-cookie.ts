import type { FastifyReply, FastifyRequest } from 'fastify'
import { AuthError } from '../errors.ts'
import type { RefreshCookie } from '../procedures/context.ts'

/** The cookie's name; `isSecure` when `PUBLIC_URL` is https. */
function refreshCookieName(isSecure: boolean): string {
  return isSecure ? '__Secure-refresh_token' : 'refresh_token'
}

/**
 * The values of all refresh cookies of a request. They are read from the header itself, because the parsed
 * form keeps only the first of equal names and decodes the value.
 *
 * Only spaces and tabs before a pair are skipped. `trim` would also remove a no-break space: then a cookie
 * whose name begins with one would count, and a sibling subdomain can set it, because for the browser the
 * name does not begin with `__Secure-`.
 */
export function sentRefreshCookies({ headers }: FastifyRequest, isSecure: boolean): string[] {
  const before = `${refreshCookieName(isSecure)}=`
  return (headers.cookie ?? '')
    .split(/;[ \t]*/)
    .filter((pair) => pair.startsWith(before))
    .map((pair) => pair.slice(before.length))
}

/**
 * @param sent from `sentRefreshCookies`
 * @throws {AuthError} `validation_failed` for two refresh cookies: their order does not tell which one this
 * service set (RFC 6265 §4.2.2)
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
  // Not `setCookie`, which first parses all cookies of the request.
  const send = (value: string, lifetime: { maxAge: number; expires?: Date }) =>
    void reply.header(
      'set-cookie',
      reply.server.serializeCookie(name, value, { ...attributes, ...lifetime }),
    )
  return {
    value: sent[0] ?? null,
    set: (token, remainingMs) => send(token, { maxAge: Math.floor(remainingMs / 1000) }),
    // With the same attributes: a browser ignores a clearing `__Secure-` cookie without `Secure`.
    clear: () => send('', { maxAge: 0, expires: new Date(0) }),
  }
}
