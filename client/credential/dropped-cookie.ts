import { AuthClientError } from '../errors.ts'

/**
 * Whether the browser may have dropped the cookie that a sign-in set: of another host, which may be another site, in a
 * frame, or where it blocks cookies.
 */
export function mayDropCookie(baseUrl: string): boolean {
  const { location, navigator, window } = globalThis
  if (window === undefined || location === undefined) return false
  const isOtherHost = location.hostname !== new URL(baseUrl).hostname
  return isOtherHost || window.top !== window || !navigator.cookieEnabled
}

export function cookieDropped(baseUrl: string): AuthClientError {
  const message =
    `The browser dropped the cookie of ${baseUrl}, so it is not signed in. It keeps one only for pages of the same ` +
    `site: this page is of ${location.origin} ("localhost" and "127.0.0.1" are two sites). ` +
    'It may also block cookies, or those in frames of other sites.'
  return new AuthClientError('cookie_dropped', { message })
}
