import { isIP } from 'node:net'

/** More would make the headers of an answer too large for a proxy's buffer. */
const maxDomains = 4

/**
 * The domains for which another host of the same site can set a cookie that browsers send to one of these origins: the
 * hosts themselves, for hosts below them, and all their parents. A browser ignores those that do not match its request.
 *
 * @param origins the service's own and, behind a proxy of the page, that of the page
 */
export function parentDomainsOf(origins: readonly (string | undefined)[]): string[] {
  const domains = origins.flatMap((origin) => (origin === undefined ? [] : domainsOf(origin)))
  return [...new Set(domains)].slice(0, maxDomains)
}

/** An address or a name without a dot has no other host in its site. */
function domainsOf(origin: string): string[] {
  const { hostname } = new URL(origin)
  if (isIP(hostname.replace(/^\[|\]$/g, '')) !== 0) return []
  const labels = hostname.split('.')
  return labels.slice(0, -1).map((_, i) => labels.slice(i).join('.'))
}
