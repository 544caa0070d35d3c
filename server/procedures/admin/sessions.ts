import { z } from 'zod'
import { listFamilyActions } from '../../../db/audit/admin-actions.ts'
import { listSessions, readSession, readStateAt } from '../../../db/audit/sessions.ts'
import { listFamilyEvents } from '../../../db/audit/events.ts'
import { canonicalEmail } from '../../users/email.ts'
import { AuthError } from '../../errors.ts'
import { sessionStatuses } from '../../ledger/family.ts'
import { revokeSession } from '../../admin/sessions.ts'
import { adminProcedure } from '../access.ts'
import { appRouterOf } from '../trpc.ts'
import { id, instant, limit, pageOf, reason } from './input.ts'
import { iso, toEventView, toSessionView } from '../../audit/views.ts'

/** A family of one year with a refresh every 15 minutes has more; its page is `admin.ledger.events`. */
const eventsShown = 1_000

const list = adminProcedure
  .input(
    z
      .strictObject({
        userId: id.optional(),
        email: z.string().max(1_000).optional(),
        status: z.enum(sessionStatuses).optional(),
        cursor: id.optional(),
        limit,
      })
      .prefault({}),
  )
  .query(async ({ ctx, input }) => {
    const { cursor, limit: atMost, email: typed, ...filter } = input
    const email = typed === undefined ? undefined : canonicalEmail(typed)
    if (email === null) return { items: [], nextCursor: null }
    const page = { cursor, limit: atMost }
    const rows = await listSessions(ctx.deps.database, { ...filter, email }, page)
    return pageOf(rows, atMost, { item: toSessionView, cursor: (row) => row.familyId })
  })

const get = adminProcedure
  .input(z.strictObject({ familyId: id }))
  .query(async ({ ctx, input: { familyId } }) => {
    const { database } = ctx.deps
    const session = await readSession(database, familyId)
    if (session === null) throw unknown()
    const [events, actions] = await Promise.all([
      listFamilyEvents(database.sql, familyId, eventsShown),
      listFamilyActions(database.sql, familyId),
    ])
    return {
      ...toSessionView(session),
      /** The newest, oldest first. */
      events: events.map(toEventView),
      adminActions: actions.map((done) => ({ ...done, occurredAt: iso(done.occurredAt) })),
    }
  })

const stateAt = adminProcedure
  .input(z.strictObject({ familyId: id, at: instant }))
  .query(async ({ ctx, input }) => {
    const state = await readStateAt(ctx.deps.database, input.familyId, input.at)
    if (state === null) throw unknown()
    return { ...state, expiresAt: iso(state.expiresAt) }
  })

const revoke = adminProcedure
  .input(z.strictObject({ familyId: id, reason }))
  .mutation(async ({ ctx, input }) => {
    const { familyId } = input
    const actorUserId = ctx.session.userId
    const act = { actorUserId, reason: input.reason, caller: ctx.caller }
    const ended = await revokeSession(ctx.deps, familyId, act)
    if (ended === null) throw unknown()
    return { revoked: ended ? 1 : 0 }
  })

export const adminSessionsRouter = appRouterOf({ list, get, stateAt, revoke })

function unknown(): AuthError {
  return new AuthError('not_found', 'no such session, or not yet')
}
