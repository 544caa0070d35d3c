import type { FastifyRequest } from 'fastify'
import type { Config } from '../config/config.ts'
import { AuthError } from '../errors.ts'

type OriginConfig = Pick<Config, 'allowedOrigins' | 'isProduction'>

/** Pages that are being developed: a dev server has any port, and prints either name. */
const loopbackOrigin = /^http:\/\/(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?$/

/** Whether pages of this origin may sign in: those of ALLOWED_ORIGINS and, outside of production, of this machine. */
export function isAllowedOrigin(origin: string, config: OriginConfig): boolean {
  if (config.allowedOrigins.includes(origin)) return true
  return !config.isProduction && loopbackOrigin.test(origin)
}

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
  config: OriginConfig & Pick<Config, 'publicUrl'>,
  rules: { isOriginRequired: boolean },
): void {
  const { origin } = request.headers
  const site = request.headers['sec-fetch-site']
  if (origin === undefined) {
    if (rules.isOriginRequired) refuse('a refresh cookie without an Origin header')
    return
  }
  if (!isAllowedOrigin(origin, config))
    refuse('the Origin is not in ALLOWED_ORIGINS', adviceFor(origin))
  if (site === undefined || site === 'same-origin') return
  if (origin === config.publicUrl)
    refuse(`Sec-Fetch-Site is ${site.slice(0, 20)} for the service's own origin`)
}

/** Names the origin only where it is spelled as browsers spell one. */
function adviceFor(origin: string): string {
  const isPlain = URL.canParse(origin) && new URL(origin).origin === origin && origin.length <= 100
  const [page, what] = isPlain ? [origin, origin] : ['this origin', 'it']
  return `Requests from ${page} are not allowed. To allow them, add ${what} to the service's variable ALLOWED_ORIGINS.`
}

function refuse(detail: string, problem?: string): never {
  throw new AuthError('origin_not_allowed', detail, { problem })
}
