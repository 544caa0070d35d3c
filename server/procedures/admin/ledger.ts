import { tracked } from '@trpc/server'
import { z } from 'zod'
import { verifyFamily } from '../../../db/audit/sessions.ts'
import { listEvents } from '../../../db/audit/events.ts'
import { checkLedger } from '../../../db/audit/check.ts'
import { isUnavailable } from '../../../db/connection/errors.ts'
import type { ServiceDeps } from '../deps.ts'
import { AuthError } from '../../errors.ts'
import { eventKinds } from '../../ledger/events.ts'
import { followLedger } from '../../audit/tail.ts'
import { adminProcedure, mustBeAdmin } from '../access.ts'
import { appRouterOf } from '../trpc.ts'
import type { AccessTokenClaims } from '../../verifier/index.ts'
import { id, instant, limit, pageOf, position } from './input.ts'
import { positionText } from '../../audit/position.ts'
import { toEventView } from '../../audit/views.ts'

const events = adminProcedure
  .input(
    z
      .strictObject({
        kinds: z.array(z.enum(eventKinds)).min(1).max(eventKinds.length).optional(),
        userId: id.optional(),
        familyId: id.optional(),
        from: instant.optional(),
        to: instant.optional(),
        cursor: position.optional(),
        limit,
      })
      .prefault({}),
  )
  .query(async ({ ctx, input }) => {
    const { kinds, userId, familyId, from, to, cursor } = input
    const filter = { kinds, userId, familyId, fromAt: from, toAt: to }
    const page = { cursor, limit: input.limit }
    const rows = await listEvents(ctx.deps.database.sql, filter, page)
    return pageOf(rows, input.limit, {
      item: toEventView,
      cursor: (event) => positionText(event.position),
    })
  })

/** One family, or all of them: who asks meanwhile gets the answer of the check that is under way. */
const verify = adminProcedure
  .input(z.strictObject({ familyId: id.optional() }).prefault({}))
  .query(async ({ ctx, input }) => {
    const { deps } = ctx
    if (input.familyId === undefined) return verifyAll(deps)
    const verdict = await verifyFamily(deps.database, input.familyId)
    if (verdict.events === 0 && verdict.problem === 'there is no such family')
      throw new AuthError('not_found', 'no such family')
    const { intact, events: count, firstBrokenSeq, problem } = verdict
    const broken = intact ? [] : [{ familyId: input.familyId, firstBrokenSeq, problem }]
    return { intact, families: 1, events: count, broken }
  })

const checksUnderWay = new WeakMap<ServiceDeps['database'], ReturnType<typeof checkAll>>()

/** It reads everything, so one at a time. */
function verifyAll({ database }: ServiceDeps): ReturnType<typeof checkAll> {
  const underWay = checksUnderWay.get(database)
  if (underWay !== undefined) return underWay
  const check = checkAll(database).finally(() => checksUnderWay.delete(database))
  checksUnderWay.set(database, check)
  return check
}

async function checkAll({ sql }: ServiceDeps['database']) {
  const { families, events: count, broken } = await checkLedger(sql, () => {})
  return { intact: broken.length === 0, families, events: count, broken: broken.slice(0, 1_000) }
}

/**
 * Every event from now on, or after `after`, once and in the order of the ledger, as an SSE stream. It ends with
 * the access token; a client goes on with a new one and the id of the last event it got.
 */
const tail = adminProcedure
  .input(
    z
      .strictObject({
        after: position.optional(),
        /** What tRPC's client sends when it connects again. */
        lastEventId: position.optional(),
      })
      .prefault({}),
  )
  .subscription(async ({ ctx, input, signal }) => {
    const { deps, session } = ctx
    const place = deps.tails.take(session.userId)
    // Also when nobody ever reads it.
    signal?.addEventListener('abort', () => place.release(), { once: true })
    const signals = [place.closing, ...(signal === undefined ? [] : [signal])]
    const after = input.lastEventId ?? input.after ?? null
    return tailOf(deps, session, { after, signal: AbortSignal.any(signals), place })
  })

async function* tailOf(
  deps: ServiceDeps,
  session: AccessTokenClaims,
  options: {
    after: z.output<typeof position> | null
    signal: AbortSignal
    place: { release(): void }
  },
) {
  const { after, signal, place } = options
  const check = async () => {
    if (Date.now() >= session.expiresAt)
      throw new AuthError('access_token_expired', 'it expired during the stream')
    await mustBeAdmin(deps, session)
  }
  try {
    for await (const event of followLedger(deps.sql, { after, signal, check }))
      yield tracked(positionText(event.position), toEventView(event))
  } catch (error) {
    if (!isUnavailable(error)) throw error
    throw new AuthError('service_unavailable', 'during the stream', { retryAfterSeconds: 1 })
  } finally {
    place.release()
  }
}

export const adminLedgerRouter = appRouterOf({ events, verify, tail })
