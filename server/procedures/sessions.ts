import { z } from 'zod'
import { listActiveSessions } from '../../db/audit/sessions.ts'
import type { AuditSession } from '../../db/schema.ts'
import { AuthError } from '../errors.ts'
import { endAllSessions, endSession } from '../sessions/revocation.ts'
import { appRouterOf } from './trpc.ts'
import { liveProcedure } from './access.ts'

const list = liveProcedure
  .input(
    z
      .strictObject({
        cursor: z.uuid().optional(),
        limit: z.number().int().min(1).max(200).default(50),
      })
      .prefault({}),
  )
  .query(async ({ ctx, input }) => {
    const { userId, familyId } = ctx.session
    const { cursor, limit } = input
    const rows = await listActiveSessions(ctx.deps.database, userId, { cursor, limit })
    const nextCursor = rows.length === limit ? (rows.at(-1)?.familyId ?? null) : null
    return { items: rows.map((row) => toItem(row, familyId)), nextCursor }
  })

const revoke = liveProcedure
  .input(z.strictObject({ familyId: z.uuid() }))
  .mutation(async ({ ctx, input }) => {
    const { userId } = ctx.session
    const ended = await endSession(
      ctx.deps,
      { familyId: input.familyId.toLowerCase(), ownerId: userId },
      { reason: 'user_revoked', actorUserId: userId, caller: ctx.caller },
    )
    // Somebody else's answers exactly as an unknown one.
    if (ended === null) throw new AuthError('not_found', 'unknown, or of another user')
    return { revoked: ended ? 1 : 0 }
  })

const revokeOthers = liveProcedure.mutation(async ({ ctx }) => {
  const { userId, familyId } = ctx.session
  await ctx.deps.limits.beforeEndingOthers(familyId)
  const revoked = await endAllSessions(ctx.deps, userId, {
    by: { reason: 'user_revoked', actorUserId: userId, caller: ctx.caller },
    exceptFamilyId: familyId,
    callingSession: familyId,
  })
  if (revoked === null)
    throw new AuthError('access_token_revoked', 'the session was ended meanwhile')
  return { revoked }
})

export const sessionsRouter = appRouterOf({ list, revoke, revokeOthers })

function toItem(row: AuditSession, currentFamilyId: string) {
  return {
    familyId: row.familyId,
    isCurrent: row.familyId === currentFamilyId,
    transport: row.transport,
    deviceName: row.deviceName,
    createdAt: iso(row.createdAt),
    lastRotatedAt: row.lastRotatedAt && iso(row.lastRotatedAt),
    expiresAt: iso(row.expiresAt),
    ip: row.ip,
    userAgent: row.userAgent,
  }
}

function iso(instant: string | Date): string {
  return new Date(instant).toISOString()
}
