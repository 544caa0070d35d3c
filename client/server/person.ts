import { createAuthApi, type AuthApi, type Fetch } from '../auth-api.ts'
import type { Incoming, ServerSessionOptions } from './public-types.ts'

/**
 * Calls of the service for one request. They pass on who the visitor is, so that the limits and the ledger of the
 * service are about the person and not about the app's server. The service believes the address if `TRUSTED_PROXIES`
 * names that server.
 */
export function serviceFor(
  request: Incoming,
  options: ServerSessionOptions,
): { readonly post: AuthApi; readonly fetch: Fetch } {
  const { baseUrl, addressOf } = options
  const send = options.fetch ?? ((url, init) => globalThis.fetch(url, init))
  const address = addressOf?.(request) ?? null
  const userAgent = request.headers.get('user-agent')
  const fetch: Fetch = (url, init) => {
    const headers = new Headers(init?.headers)
    if (address !== null) headers.set('x-forwarded-for', address)
    if (userAgent !== null) headers.set('user-agent', userAgent)
    return send(url, { ...init, headers })
  }
  return { post: createAuthApi({ baseUrl, fetch, credentials: 'omit' }), fetch }
}
