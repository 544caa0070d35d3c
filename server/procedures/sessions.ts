import { z } from 'zod'
import type { OwnSession } from '../../db/audit/pages-of-users.ts'
import { methodsOf } from '../../db/methods.ts'
import { iso } from '../audit/views.ts'
import { AuthError } from '../errors.ts'
import { endAllSessions, endSession } from '../sessions/revocation.ts'
import { listingProcedure, liveProcedure, recentProcedure } from './access.ts'
import { id, limit, pageOf } from './input.ts'
import { appRouterOf } from './trpc.ts'

const list = listingProcedure
  .input(z.strictObject({ cursor: id.optional(), limit }).prefault({}))
  .query(async ({ ctx, input }) => {
    const { familyId } = ctx.session
    const { cursor, limit: pageSize } = input
    const rows = await ctx.deps.ownSessionsOf({
      userId: ctx.by.actorUserId,
      cursor,
      limit: pageSize,
    })
    return pageOf(rows, pageSize, {
      item: (row) => toItem(row, familyId),
      cursor: (row) => row.familyId,
    })
  })

const revoke = liveProcedure
  .input(z.strictObject({ familyId: id }))
  .mutation(async ({ ctx, input }) => {
    const wasActive = await endSession(
      ctx.deps,
      { familyId: input.familyId, ownerId: ctx.by.actorUserId },
      { ...ctx.by, reason: 'user_revoked' },
    )
    // The same answer for an unknown session and for one of another user.
    if (wasActive === null) throw new AuthError('not_found', 'unknown, or of another user')
    return { revoked: wasActive ? 1 : 0 }
  })

const revokeOthers = recentProcedure.mutation(async ({ ctx }) => {
  const { familyId } = ctx.session
  await ctx.deps.limits.beforeEndingOthers(familyId)
  const revoked = await endAllSessions(ctx.deps, ctx.by.actorUserId, {
    by: { ...ctx.by, reason: 'user_revoked' },
    exceptFamilyId: familyId,
  })
  return { revoked }
})

export const sessionsRouter = appRouterOf({ list, revoke, revokeOthers })

function toItem(row: OwnSession, currentFamilyId: string) {
  return {
    familyId: row.familyId,
    isCurrent: row.familyId === currentFamilyId,
    transport: row.transport,
    deviceName: row.deviceName,
    createdAt: iso(row.createdAt),
    lastRotatedAt: iso(row.lastRotatedAt),
    expiresAt: iso(row.expiresAt),
    ip: row.ip,
    userAgent: row.userAgent,
    methods: methodsOf(row.methods),
    authenticatedAt: iso(row.authenticatedAt),
  }
}
