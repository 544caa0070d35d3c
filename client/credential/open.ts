import { createAuthApi } from '../auth-api.ts'
import { onDemand } from '../on-demand.ts'
import type { Settings } from '../options.ts'
import type { TokenStorage } from '../storage.ts'
import { openAttempts } from './attempts.ts'
import { cookieCredential } from './cookie.ts'
import type { Credential } from './credential.ts'
import { openNotes, originStorage, type Place } from './notes.ts'

/**
 * Only a page with notes of its own origin has the code at once. What the other credentials need is loaded with the
 * first use.
 */
export function openCredential(
  { baseUrl, fetch, transport, adoptForeignSession, site }: Settings,
  storage: TokenStorage | undefined,
): () => Credential | Promise<Credential> {
  const server = { baseUrl, fetch }
  if (transport === 'body')
    return onDemand(async () => {
      const { bodyCredential } = await import('./body.ts')
      return bodyCredential(createAuthApi({ ...server, credentials: 'omit' }), storage, server)
    })
  const withNotesIn = (place: Place) => {
    const notes = openNotes(baseUrl, place)
    const attempts = openAttempts(notes, baseUrl)
    const post = createAuthApi({ ...server, credentials: 'include' })
    return cookieCredential(post, { notes, attempts, server }, adoptForeignSession)
  }
  if (site !== undefined)
    return onDemand(async () => {
      const { siteCookies } = await import('./site-cookies.ts')
      return withNotesIn(siteCookies(site))
    })
  const credential = withNotesIn(originStorage)
  return () => credential
}
