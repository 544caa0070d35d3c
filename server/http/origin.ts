import type { FastifyRequest } from 'fastify'
import { AuthError } from '../errors.ts'

/**
 * Refuses a request from a browser page whose origin is not allowed (OWASP ASVS 5.0, 3.5.1–3.5.3).
 *
 * `SameSite=Strict` alone would trust every sibling subdomain. A request with the cookie must have an
 * `Origin` header. A request without the cookie may come from a client that is not a browser and sends none.
 *
 * @throws {AuthError} `origin_not_allowed`
 */
export function checkOrigin(
  request: FastifyRequest,
  rules: { ownOrigin: string; allowedOrigins: readonly string[]; isOriginRequired: boolean },
): void {
  const { origin } = request.headers
  const site = request.headers['sec-fetch-site']
  if (origin === undefined) {
    if (rules.isOriginRequired) refuse('a refresh cookie without an Origin header')
    return
  }
  if (!rules.allowedOrigins.includes(origin)) refuse('the Origin is not in ALLOWED_ORIGINS')
  if (site === undefined || site === 'same-origin') return
  if (origin === rules.ownOrigin)
    refuse(`Sec-Fetch-Site is ${site.slice(0, 20)} for the service's own origin`)
}

function refuse(detail: string): never {
  throw new AuthError('origin_not_allowed', detail)
}
