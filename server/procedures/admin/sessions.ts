import { z } from 'zod'
import { listFamilyActions } from '../../../db/audit/admin-actions.ts'
import { listFamilyEvents } from '../../../db/audit/events.ts'
import { listSessions, readSession, readStateAt } from '../../../db/audit/sessions.ts'
import { revokeSession } from '../../admin/sessions.ts'
import { iso, toEventView, toSessionView } from '../../audit/views.ts'
import { AuthError } from '../../errors.ts'
import { sessionStatuses } from '../../ledger/family.ts'
import { canonicalEmail } from '../../users/email.ts'
import { adminActProcedure, askingProcedure } from '../access.ts'
import { id, instant, limit, pageOf, reason } from '../input.ts'
import { appRouterOf } from '../trpc.ts'

/** A long-lived family can have more events; `admin.ledger.events` lists them in pages. */
const eventsShown = 1_000

const list = askingProcedure
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
    const { cursor, limit: pageSize, email: givenEmail, ...filter } = input
    const email = givenEmail === undefined ? undefined : canonicalEmail(givenEmail)
    if (email === null) return { items: [], nextCursor: null }
    const page = { cursor, limit: pageSize }
    const rows = await listSessions(ctx.deps.database.questions, { ...filter, email }, page)
    return pageOf(rows, pageSize, { item: toSessionView, cursor: (row) => row.familyId })
  })

const get = askingProcedure
  .input(z.strictObject({ familyId: id }))
  .query(async ({ ctx, input: { familyId } }) => {
    const { questions } = ctx.deps.database
    const session = await readSession(questions, familyId)
    if (session === null) throw unknown()
    const [events, actions] = await Promise.all([
      listFamilyEvents(questions, familyId, eventsShown),
      listFamilyActions(questions, familyId),
    ])
    return {
      ...toSessionView(session),
      /** The newest `eventsShown`, oldest first. */
      events: events.map(toEventView),
      adminActions: actions.map((act) => ({ ...act, occurredAt: iso(act.occurredAt) })),
    }
  })

const stateAt = askingProcedure
  .input(z.strictObject({ familyId: id, at: instant }))
  .query(async ({ ctx, input }) => {
    const state = await readStateAt(ctx.deps.database.questions, input.familyId, input.at)
    if (state === null) throw unknown()
    return {
      ...state,
      expiresAt: iso(state.expiresAt),
      authenticatedAt: iso(state.authenticatedAt),
    }
  })

const revoke = adminActProcedure
  .input(z.strictObject({ familyId: id, reason }))
  .mutation(async ({ ctx, input }) => {
    const { familyId } = input
    const act = { ...ctx.by, reason: input.reason }
    const wasActive = await revokeSession(ctx.deps, familyId, act)
    if (wasActive === null) throw unknown()
    return { revoked: wasActive ? 1 : 0 }
  })

export const adminSessionsRouter = appRouterOf({ list, get, stateAt, revoke })

function unknown(): AuthError {
  return new AuthError('not_found', 'no such session at that time')
}
