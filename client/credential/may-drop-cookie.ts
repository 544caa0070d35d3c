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
