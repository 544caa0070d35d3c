import { createAuthApi } from '../auth-api.ts'
import { onDemand } from '../on-demand.ts'
import type { Settings } from '../options.ts'
import type { TokenStorage } from '../storage.ts'
import { openAttempts } from './attempts.ts'
import { cookieCredential } from './cookie.ts'
import type { Credential } from './credential.ts'
import { openNotes } from './notes.ts'
import { siteCookies } from './site-cookies.ts'

/** A page that keeps the refresh token in a cookie has the code at once. With a storage, the first use loads it. */
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
  const place = () => (site === undefined ? localStorage : siteCookies(site))
  const notes = openNotes(baseUrl, place)
  const attempts = openAttempts(notes, baseUrl)
  const post = createAuthApi({ ...server, credentials: 'include' })
  const credential = cookieCredential(post, { notes, attempts, server }, adoptForeignSession)
  return () => credential
}
