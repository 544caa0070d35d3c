import type { AuthApi, Grant } from '../auth-api.ts'
import { isDefinitive, isPermanent, toAuthClientError } from '../errors.ts'
import { newAttemptId } from './attempt-id.ts'
import type { Attempts } from './attempts.ts'
import { askRefresh, type Credential } from './credential.ts'
import type { Server } from './end-other.ts'
import { onDemand } from '../on-demand.ts'
import { mayDropCookie } from './may-drop-cookie.ts'
import { ownSession } from './own-session.ts'
import type { Notes } from './notes.ts'

/**
 * For browsers: the refresh token is in a cookie that scripts cannot read.
 *
 * All tabs share the cookie, so they share the attempt id as well. With one id per tab, a tab whose response
 * was lost and a tab that refreshes after the grace window would present the same spent token in two attempts,
 * which is reuse. The attempt id alone gives no access.
 *
 * @param adopts the option `adoptForeignSession`
 */
export function cookieCredential(
  post: AuthApi,
  { notes, attempts, server }: { notes: Notes; attempts: Attempts; server: Server },
  adopts: boolean | Date,
): Credential {
  const own = ownSession(notes, adopts)
  const droppedCookie = onDemand(() => import('./dropped-cookie.ts'))
  const settle = (attemptId: string) => {
    if (notes.get('attempt') === attemptId) notes.remove('attempt')
  }
  const begin = async (grant: Grant, signal: AbortSignal) => {
    notes.remove('attempt')
    notes.remove('sign-out')
    own.begun(grant.familyId)
    if (!mayDropCookie(server.baseUrl)) return grant
    try {
      return await refresh(signal)
    } catch (error) {
      const { reason } = toAuthClientError(error)
      if (reason === 'superseded') throw error
      // Without an answer it is unknown whether there is a cookie.
      if (reason !== 'refresh_token_missing') return grant
      return (await droppedCookie()).giveUpSignIn(server, grant)
    }
  }
  async function refresh(signal: AbortSignal, ask = askRefresh): Promise<Grant> {
    const familyId = own.expected()
    const attemptId = notes.get('attempt') ?? newAttemptId()
    notes.set('attempt', attemptId)
    try {
      const previousAttemptIds = await attempts.begin(attemptId)
      const input = {
        attemptId,
        ...(previousAttemptIds.length > 0 && { previousAttemptIds }),
        ...(familyId !== null && { familyId }),
      }
      const grant = await ask(post, input, signal)
      settle(attemptId)
      attempts.settled(attemptId)
      own.continued(grant.familyId, familyId)
      return grant
    } catch (error) {
      if (isDefinitive(error)) {
        settle(attemptId)
        own.ended(familyId)
      }
      throw error
    }
  }

  return {
    login: async (input, signal) =>
      begin(await post('login', { ...input, transport: 'cookie' }, signal), signal),
    register: async ({ email, password }, signal) =>
      begin(await post('register', { email, password }, signal), signal),
    refresh,

    isOwn: (familyId) => familyId === notes.get('family'),

    async noteSignOut(everywhere) {
      notes.set('sign-out', everywhere ? 'everywhere' : 'here')
      own.ended(notes.get('family'))
    },
    isSigningOut: async () => notes.get('sign-out') !== null,
    async signOut() {
      const everywhere = notes.get('sign-out') === 'everywhere'
      try {
        const { revoked } = await post('logout', { everywhere })
        notes.remove('sign-out')
        return revoked
      } catch (error) {
        if (isPermanent(toAuthClientError(error))) notes.remove('sign-out')
        throw error
      }
    },
  }
}
