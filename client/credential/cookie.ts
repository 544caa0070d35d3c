import type { AuthApi, Grant } from '../auth-api.ts'
import { AuthClientError, isDefinitive, isPermanent } from '../errors.ts'
import type { Credential } from './credential.ts'
import { newAttemptId, type Notes } from './tab-storage.ts'

/**
 * The browser's: the refresh token is in a cookie that no script can read.
 *
 * The attempt id belongs to the cookie, and so to all tabs together. Were it a tab's own, a tab whose
 * answer was lost and another that refreshes after the grace window would present the same spent
 * token under two names, and that is what theft looks like. Alone it opens nothing.
 */
export function cookieCredential(post: AuthApi, notes: Notes): Credential {
  const settle = (attemptId: string) => {
    if (notes.get('attempt') === attemptId) notes.remove('attempt')
  }
  const begin = (grant: Grant) => {
    notes.remove('attempt')
    notes.remove('sign-out')
    return grant
  }
  return {
    login: async (input, signal) =>
      begin(await post('login', { ...input, transport: 'cookie' }, signal)),
    register: async ({ email, password }, signal) =>
      begin(await post('register', { email, password }, signal)),

    async refresh(signal) {
      const attemptId = notes.get('attempt') ?? newAttemptId()
      notes.set('attempt', attemptId)
      try {
        const grant = await post('refresh', { attemptId }, signal)
        settle(attemptId)
        return grant
      } catch (error) {
        if (isDefinitive(error)) settle(attemptId)
        throw error
      }
    },

    async noteSignOut(everywhere) {
      notes.set('sign-out', everywhere ? 'everywhere' : 'here')
    },
    isSigningOut: async () => notes.get('sign-out') !== null,
    async signOut() {
      const everywhere = notes.get('sign-out') === 'everywhere'
      try {
        const { revoked } = await post('logout', { everywhere })
        notes.remove('sign-out')
        return revoked
      } catch (error) {
        if (error instanceof AuthClientError && isPermanent(error)) notes.remove('sign-out')
        throw error
      }
    },
  }
}
