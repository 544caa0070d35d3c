import type { Grant } from '../auth-api.ts'
import { AuthClientError } from '../errors.ts'
import { endOther, type Server } from './end-other.ts'

/**
 * Finds out by a refresh whether the browser has kept the cookie of a sign-in. @returns the newest grant
 *
 * @throws {AuthClientError} `cookie_dropped`, after the end of a session that cannot go on; `superseded`
 */
export async function checkCookie(
  server: Server,
  grant: Grant,
  refresh: () => Promise<Grant>,
): Promise<Grant> {
  try {
    return await refresh()
  } catch (error) {
    const reason = error instanceof AuthClientError ? error.reason : null
    if (reason === 'superseded') throw error
    // Without an answer it is unknown whether there is a cookie.
    if (reason !== 'refresh_token_missing') return grant
  }
  await endOther(server, grant, grant.familyId).catch(() => {})
  const message =
    `The browser dropped the cookie of ${server.baseUrl}, so it is not signed in. It keeps one only for pages of the same ` +
    `site: this page is of ${location.origin} ("localhost" and "127.0.0.1" are two sites). ` +
    'It may also block cookies, or those in frames of other sites.'
  throw new AuthClientError('cookie_dropped', { message })
}
