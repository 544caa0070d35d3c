import { domainToASCII, domainToUnicode } from 'node:url'

/** RFC 5321 §4.5.3.1.3 allows 256 octets for a path, including its two angle brackets. */
const maxEmailLength = 254
const maxLocalLength = 64

/** A typed internationalised domain is longer than its A-labels only if it contains combining marks. */
const maxInputLength = 4 * maxEmailLength

/** `dot-atom` of RFC 5322 §3.2.3 in lower case: no quoted strings, comments or commas. */
const dotAtom = /^[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*$/

/** Host name of RFC 1123 §2.1. One label is enough, so `admin@localhost` works. */
const hostName = /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/

/** `domainToASCII` parses the host of a URL: it would decode `%41` and cut off `#x` in `example#x`. */
const urlSyntax = /[\x20-,/:-@[-`{-~]/

const ascii = /^[\x21-\x7e]+$/

/**
 * The only spelling under which an account is stored, looked up and counted: ASCII, lower case, the
 * domain as A-labels (UTS #46), without surrounding spaces.
 *
 * Look-alike addresses never share an account: the part before the `@` must be ASCII as typed, because
 * `toLowerCase` and Postgres's `lower()` both turn the Kelvin sign into `k`.
 *
 * @returns null if the address is not accepted
 */
export function canonicalEmail(input: string): string | null {
  if (input.length > maxInputLength) return null
  // Control characters, bidi marks, zero-width characters, lone surrogates: UTS #46 would silently drop some.
  if (/\p{C}/u.test(input)) return null
  const [localPart, domain, ...more] = input.replace(/^ +| +$/g, '').split('@')
  if (localPart === undefined || domain === undefined || more.length > 0) return null

  if (!ascii.test(localPart) || localPart.length > maxLocalLength) return null
  const local = localPart.toLowerCase()
  const host = canonicalDomain(domain)
  if (!dotAtom.test(local) || host === null) return null
  const email = `${local}@${host}`
  return email.length > maxEmailLength ? null : email
}

function canonicalDomain(domain: string): string | null {
  if (urlSyntax.test(domain)) return null
  const host = domainToASCII(domain)
  // Numbers are parsed as in a URL: `0x7f.1` has become 127.0.0.1.
  const isAddress = /(?:^|\.)\d+$/.test(host)
  // For broken Punycode, `domainToUnicode` returns an empty string on Node 20 and the unchanged label on Node 24.
  const isBroken = /(?:^|\.)xn--/.test(domainToUnicode(host))
  return hostName.test(host) && !isAddress && !isBroken ? host : null
}
