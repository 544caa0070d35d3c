import type { Grant } from '../auth-api.ts'
import { AuthClientError } from '../errors.ts'
import { endOther, type Server } from './end-other.ts'

/** Ends the session of a sign-in whose cookie the browser dropped, and says why it does not go on. */
export async function giveUpSignIn(server: Server, grant: Grant): Promise<never> {
  await endOther(server, grant, grant.familyId).catch(() => {})
  const message =
    `The browser dropped the cookie of ${server.baseUrl}, so it is not signed in. It keeps one only for pages of the same ` +
    `site: this page is of ${location.origin} ("localhost" and "127.0.0.1" are two sites). ` +
    'It may also block cookies, or those in frames of other sites.'
  throw new AuthClientError('cookie_dropped', { message })
}
