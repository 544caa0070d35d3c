import { createAuthApi } from '../auth-api.ts'
import { openAttempts } from './attempts.ts'
import { cookieCredential } from './cookie.ts'
import type { Credential } from './credential.ts'
import { lazyCredential } from './lazy.ts'
import { openNotes } from './tab-storage.ts'
import type { Settings } from '../options.ts'
import { memoryStorage, type TokenStorage } from '../storage.ts'

export function openCredential(settings: Settings, storage: TokenStorage | undefined): Credential {
  const { baseUrl, fetch, transport, adoptForeignSession, site } = settings
  if (transport === 'cookie') {
    const notes = openNotes(baseUrl, site)
    return cookieCredential(
      createAuthApi({ baseUrl, fetch, credentials: 'include' }),
      { notes, attempts: openAttempts(notes, baseUrl), server: { baseUrl, fetch } },
      adoptForeignSession,
    )
  }
  // Pages that use the cookie never load this code.
  return lazyCredential(async () => {
    const { bodyCredential } = await import('./body.ts')
    const post = createAuthApi({ baseUrl, fetch, credentials: 'omit' })
    return bodyCredential(post, storage ?? memoryStorage(), { baseUrl, fetch })
  })
}
