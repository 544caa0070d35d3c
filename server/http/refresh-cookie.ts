import { fastifyCookie } from '@fastify/cookie'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Config } from '../config/config.ts'
import type { RefreshCookie } from '../procedures/context.ts'
import { parentDomainsOf } from './parent-domains.ts'

type CookieConfig = Pick<Config, 'isSecure' | 'cookiePrefix' | 'publicUrl'>

/** The name on http before it had the port, which other projects on localhost use as well. */
const formerName = 'refresh_token'

/**
 * The cookie's name and path. Browsers accept `__Host-` from this host alone, and only with the path `/`. On http the
 * name has the port of PUBLIC_URL, because all ports of a host share their cookies (RFC 6265 §8.5).
 */
function identityOf({ isSecure, cookiePrefix, publicUrl }: CookieConfig): {
  name: string
  path: string
} {
  if (!isSecure) {
    const [, port = '80'] = /:(\d+)$/.exec(publicUrl) ?? []
    return { name: `${port}-refresh_token`, path: '/auth' }
  }
  return cookiePrefix === 'host'
    ? { name: '__Host-refresh_token', path: '/' }
    : { name: '__Secure-refresh_token', path: '/auth' }
}

/** Every path of a cookie that is sent to the routes of `/auth` that read it (RFC 6265 §5.1.4). */
const tossedPaths = [
  '/',
  '/auth',
  '/auth/',
  '/auth/refresh',
  '/auth/reauthenticate',
  '/auth/logout',
]

/**
 * The values of all refresh cookies of a request. They are read from the header itself, because the parsed
 * form keeps only the first of equal names and decodes the value.
 *
 * Only spaces and tabs before a pair are skipped. `trim` would also remove a no-break space: then a cookie
 * whose name begins with one would count, and a sibling subdomain can set it, because for the browser the
 * name does not begin with `__Secure-`.
 */
export function sentRefreshCookies({ headers }: FastifyRequest, config: CookieConfig): string[] {
  const pairs = (headers.cookie ?? '').split(/;[ \t]*/)
  const own = valuesOf(pairs, identityOf(config).name)
  // A session that began under the former name goes on. Beside a cookie of the own name it has no effect.
  return own.length > 0 || config.isSecure ? own : valuesOf(pairs, formerName)
}

function valuesOf(pairs: readonly string[], name: string): string[] {
  return pairs
    .filter((pair) => pair.startsWith(`${name}=`))
    .map((pair) => pair.slice(name.length + 1))
}

/**
 * @param sent.values from `sentRefreshCookies`
 * @param sent.mayBeForeign whether another host of the site may have set one of them. Whatever sets or clears the
 * cookie then also clears those, on each parent domain.
 */
export function refreshCookieOf(
  sent: { values: readonly string[]; mayBeForeign: boolean },
  reply: FastifyReply,
  config: CookieConfig,
): RefreshCookie {
  const { name, path } = identityOf(config)
  // Not `setCookie`, which first parses all cookies of the request.
  const send = (value: string, lifetime: { maxAge: number; expires?: Date }) => {
    // First, for a browser that takes a cookie of this domain for the same as one without a domain.
    if (sent.mayBeForeign && path !== '/') clearForeign()
    void reply.header(
      'set-cookie',
      fastifyCookie.serialize(name, value, {
        httpOnly: true,
        secure: config.isSecure,
        sameSite: 'strict',
        path,
        ...lifetime,
      }),
    )
  }
  function clearForeign(): void {
    const { origin } = reply.request.headers
    const lines = parentDomainsOf([config.publicUrl, origin]).flatMap((domain) =>
      tossedPaths.map((tossed) =>
        fastifyCookie.serialize(name, '', {
          domain,
          path: tossed,
          maxAge: 0,
          secure: config.isSecure,
        }),
      ),
    )
    void reply.header('set-cookie', lines)
  }
  return {
    values: sent.values,
    set: (token, remainingMs) => send(token, { maxAge: Math.floor(remainingMs / 1000) }),
    // With the same attributes: a browser ignores a clearing `__Secure-` cookie without `Secure`.
    clear: () => send('', { maxAge: 0, expires: new Date(0) }),
  }
}
