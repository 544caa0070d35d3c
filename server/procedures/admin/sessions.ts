import { z } from 'zod'
import { listFamilyActions } from '../../../db/audit/admin-actions.ts'
import { listFamilyEvents } from '../../../db/audit/events.ts'
import { listSessions, readSession, readStateAt, verifyFamily } from '../../../db/audit/sessions.ts'
import { searchSessions, type SessionSearch } from '../../../db/audit/session-search.ts'
import { listComeBacks, type ComeBack } from '../../../db/audit/timeline.ts'
import { methodsOf } from '../../../db/methods.ts'
import { filteredIdOf } from '../../../db/subjects.ts'
import { revokeSession, revokeSessions } from '../../admin/sessions.ts'
import { iso, toActionView, toEventView, toSessionView } from '../../audit/views.ts'
import { AuthError } from '../../errors.ts'
import { sessionStatuses } from '../../ledger/family.ts'
import { canonicalEmail } from '../../users/email.ts'
import { adminActProcedure, askingProcedure } from '../access.ts'
import { id, instant, limit, pageOf, reason, subject, text } from '../input.ts'
import { network } from '../network-input.ts'
import { appRouterOf } from '../trpc.ts'

/** A long-lived family can have more events; `admin.ledger.events` lists them in pages. */
const eventsShown = 1_000

const list = askingProcedure
  .input(
    z
      .strictObject({
        userId: subject.optional(),
        email: z.string().max(1_000).optional(),
        /** The beginning of an address. */
        emailPrefix: text.max(254).optional(),
        status: z.enum(sessionStatuses).optional(),
        network: network.optional(),
        /** A part of the device name or of the user agent. */
        device: text.trim().min(1).max(100).optional(),
        cursor: id.optional(),
        limit,
      })
      .prefault({}),
  )
  .query(async ({ ctx, input }) => {
    const { cursor, limit: pageSize, email: givenEmail, emailPrefix, ...wanted } = input
    const email = givenEmail === undefined ? undefined : canonicalEmail(givenEmail)
    if (email === null) return { items: [], nextCursor: null }
    const { questions } = ctx.deps.database
    const filter = { ...wanted, userId: await filteredIdOf(questions, wanted.userId) }
    const page = { cursor, limit: pageSize }
    const search = { ...filter, email, emailPrefix: emailPrefix?.toLowerCase() }
    if (hasIndex(search)) {
      const { userId, status } = search
      const isOfUserAlone = userId !== undefined && status === undefined
      const rows = isOfUserAlone
        ? await ctx.deps.sessionsOf({ userId, ...page })
        : await listSessions(questions, { ...filter, email }, page)
      return pageOf(rows, pageSize, { item: toSessionView, cursor: (row) => row.familyId })
    }
    const { rows, nextCursor } = await searchSessions(questions, search, page)
    return { items: rows.map(toSessionView), nextCursor }
  })

/** All sessions, those of a user, and two statuses have an index. Otherwise sessions are looked at one by one. */
function hasIndex({ email, status, emailPrefix, network: from, device }: SessionSearch): boolean {
  if ([emailPrefix, from, device].some((wanted) => wanted !== undefined)) return false
  if (status === undefined) return email === undefined
  return status === 'active' || status === 'reuse_detected'
}

const get = askingProcedure
  .input(z.strictObject({ familyId: id }))
  .query(async ({ ctx, input: { familyId } }) => {
    const { questions } = ctx.deps.database
    const session = await readSession(questions, familyId)
    if (session === null) throw unknown()
    const events = await listFamilyEvents(questions, familyId, eventsShown)
    const comeBacks = new Map(
      (await listComeBacks(questions, familyId, eventsShown)).map((one) => [one.seq, one]),
    )
    const actions = await listFamilyActions(questions, familyId)
    return {
      ...toSessionView(session),
      chain: await verifyFamily(questions, familyId),
      /** The newest `eventsShown`, oldest first. */
      events: events.map((event) => ({
        ...toEventView(event),
        comeBack: toComeBackView(comeBacks.get(event.seq)),
      })),
      adminActions: actions.map(toActionView),
    }
  })

const stateAt = askingProcedure
  .input(z.strictObject({ familyId: id, at: instant }))
  .query(async ({ ctx, input }) => {
    const state = await readStateAt(ctx.deps.database.questions, input.familyId, input.at)
    if (state === null) throw unknown()
    return {
      ...state,
      methods: methodsOf(state.methods),
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

/** Ends these sessions with one reason, in one transaction. */
const revokeMany = adminActProcedure
  .input(z.strictObject({ familyIds: z.array(id).min(1).max(100), reason }))
  .mutation(async ({ ctx, input }) => {
    const familyIds = [...new Set(input.familyIds)]
    const act = { ...ctx.by, reason: input.reason }
    const outcomes = await revokeSessions(ctx.deps, familyIds, act)
    const items = familyIds.map((familyId) => ({
      familyId,
      outcome: outcomes.get(familyId) ?? ('unknown' as const),
    }))
    return { revoked: items.filter(({ outcome }) => outcome === 'ended').length, items }
  })

export const adminSessionsRouter = appRouterOf({ list, get, stateAt, revoke, revokeMany })

function toComeBackView(comeBack: ComeBack | undefined) {
  if (comeBack === undefined) return null
  const { seq: _seq, spentAt, ...rest } = comeBack
  return { ...rest, spentAt: iso(spentAt) }
}

function unknown(): AuthError {
  return new AuthError('not_found', 'no such session at that time')
}
