import { domainToASCII, domainToUnicode } from 'node:url'

/** RFC 5321 §4.5.3.1.3 allows a path of 256 octets, of which the angle brackets take two. */
const maxEmailLength = 254
const maxLocalLength = 64

/** An internationalised domain is longer as typed than as A-labels only by combining marks. */
const maxInputLength = 4 * maxEmailLength

/** RFC 5322 §3.2.3 `dot-atom`, lower-cased: no quoted strings, no comments, no commas. */
const dotAtom = /^[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*$/

/** RFC 1123 §2.1 host name; one label is enough, so that `admin@localhost` works. */
const hostName = /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/

/** `domainToASCII` parses a URL's host: it would decode `%41` and cut `example#x` short. */
const urlSyntax = /[\x20-,/:-@[-`{-~]/

const ascii = /^[\x21-\x7e]+$/

/**
 * The one spelling under which an account is stored, looked up and counted: ASCII, lower case, the
 * domain as A-labels (UTS #46). Spaces around it are dropped.
 *
 * Look-alikes never meet in one account: the part before the `@` must be ASCII as it was typed, because
 * `toLowerCase` and Postgres's `lower()` both turn the Kelvin sign into `k`.
 *
 * @returns null when this is no address we take.
 */
export function canonicalEmail(input: string): string | null {
  if (input.length > maxInputLength) return null
  // Controls, bidi marks, zero-width characters, lone surrogates: UTS #46 would drop some silently.
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
  // Numbers are read as a URL reads them: `0x7f.1` has become 127.0.0.1.
  const isAddress = /(?:^|\.)\d+$/.test(host)
  // Node 20 gives nothing for broken Punycode, Node 24 the label as it is.
  const isBroken = /(?:^|\.)xn--/.test(domainToUnicode(host))
  return hostName.test(host) && !isAddress && !isBroken ? host : null
}
