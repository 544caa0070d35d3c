import { z } from 'zod'
import { AuthError } from '../errors.ts'
import { passwordProblem } from '../users/passwords.ts'
import { endAllSessions } from '../sessions/revocation.ts'
import { liveProcedure } from './access.ts'

/** Ends every other session; the calling one goes on (OWASP ASVS 5.0, 7.4.3). */
export const changePassword = liveProcedure
  .input(
    z.strictObject({
      currentPassword: z.string().max(4_096),
      newPassword: z.string().max(4_096),
    }),
  )
  .mutation(async ({ ctx, input }) => {
    const { deps, caller, session } = ctx
    const { accounts } = deps.users
    if (accounts === undefined)
      throw new AuthError('not_found', 'another directory keeps passwords')
    const problem = passwordProblem(input.newPassword, deps.config.passwordMinLength)
    if (problem !== null) {
      const said = `newPassword: ${problem}`
      throw new AuthError('validation_failed', said, { problem: said })
    }
    const user = (await deps.users.findMany([session.userId])).get(session.userId) ?? null
    const attempt = { email: session.email, userId: session.userId, ip: caller.ip }
    await deps.limits.beforePassword(attempt)
    if (!(await deps.users.checkPassword(user, input.currentPassword)) || user === null)
      throw new AuthError('invalid_credentials', 'the current password is wrong')

    await deps.limits.afterRightPassword(attempt)
    const passwordHash = await accounts.hashPassword(input.newPassword)
    const revoked = await endAllSessions(deps, user.id, {
      by: { reason: 'password_changed', actorUserId: user.id, caller },
      exceptFamilyId: session.familyId,
      // Checking the password took its time: meanwhile somebody else may have ended this session.
      callingSession: session.familyId,
      inSameTransaction: (within) => accounts.setPasswordHash(within, user.id, passwordHash),
    })
    if (revoked === null)
      throw new AuthError('access_token_revoked', 'the session was ended meanwhile')
    deps.logSecurityEvent({ event: 'password_changed', userId: user.id, ip: caller.ip })
    return { success: true as const, revoked }
  })
