import type { LiveSession } from '../sessions/session.ts'
import type { AuthContext } from './context.ts'

export type Grant = ReturnType<typeof toGrant>

/** What a sign-in or a refresh is answered with. Sets the cookie, or puts the refresh token into the body. */
export function toGrant(
  { deps, cookie }: Pick<AuthContext, 'deps' | 'cookie'>,
  session: LiveSession,
) {
  const { familyId, user, token, transport } = session
  const { accessToken, expiresIn } = deps.accessTokens.forSession(session)
  if (transport === 'cookie') cookie.set(token.value, session.refreshRemainingMs)
  return {
    accessToken,
    tokenType: 'Bearer' as const,
    expiresIn,
    refreshExpiresAt: new Date(session.refreshExpiresAt).toISOString(),
    familyId,
    user: { id: user.id, email: user.email, role: user.role },
    ...(transport === 'body' && { refreshToken: token.value }),
  }
}
