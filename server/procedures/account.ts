import { z } from 'zod'
import { listOwnEvents } from '../../db/audit/own-events.ts'
import { iso } from '../audit/views.ts'
import { AuthError } from '../errors.ts'
import { endAllSessions } from '../sessions/revocation.ts'
import { listingProcedure, recentProcedure } from './access.ts'
import { eventCursor, limit, pageOf } from './input.ts'
import { mustFollowRule, mustNotBeBreached } from './new-password.ts'
import { checkPasswordAgain } from './password-again.ts'
import { queueOf } from './where-from.ts'

/** Also ends every other session of the user; the calling one stays active (OWASP ASVS 5.0, 7.4.3). */
export const changePassword = recentProcedure
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
      throw new AuthError('not_found', 'passwords are kept in another directory')
    const { newPassword: password } = input
    mustFollowRule(deps, { field: 'newPassword', password, email: session.email })
    const { user } = await checkPasswordAgain(ctx, {
      userId: ctx.by.actorUserId,
      // A thief of the access token has no guesses beyond those of a stranger.
      familyIds: [],
      password: input.currentPassword,
    })
    if (user === null) throw new AuthError('invalid_credentials', 'the current password is wrong')

    await mustNotBeBreached(deps, { field: 'newPassword', password })
    const passwordHash = await accounts.hashPassword(password, queueOf(ctx))
    const revoked = await endAllSessions(deps, ctx.by.actorUserId, {
      by: { ...ctx.by, reason: 'password_changed' },
      exceptFamilyId: session.familyId,
      inSameTransaction: (transaction) =>
        accounts.setPasswordHash(transaction, user.id, passwordHash),
    })
    deps.logSecurityEvent({
      event: 'password_changed',
      userId: ctx.by.actorUserId,
      ip: caller.ip,
    })
    return { success: true as const, revoked }
  })

/** What happened to the caller's own sessions: where each began, and how it was ended. */
export const events = listingProcedure
  .input(z.strictObject({ cursor: eventCursor.optional(), limit }).prefault({}))
  .query(async ({ ctx, input }) => {
    const { familyId } = ctx.session
    const rows = await listOwnEvents(ctx.deps.database.calls, ctx.by.actorUserId, input)
    return pageOf(rows, input.limit, {
      item: ({ seq, occurredAt, ...event }) => ({
        ...event,
        occurredAt: iso(occurredAt),
        isCurrent: event.familyId === familyId,
        incidentId: event.kind === 'issued' ? null : `${event.familyId}:${seq}`,
      }),
      cursor: (event) => `${event.occurredAt}:${event.familyId}:${event.seq}`,
    })
  })
