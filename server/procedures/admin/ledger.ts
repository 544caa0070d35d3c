import { tracked } from '@trpc/server'
import { z } from 'zod'
import { listEvents, readHorizon, type ListedEvent } from '../../../db/audit/events.ts'
import { verifyFamily } from '../../../db/audit/sessions.ts'
import { listCheckpoints } from '../../../db/evidence/checkpoints.ts'
import { readLogLag } from '../../../db/evidence/log.ts'
import { isUnavailable } from '../../../db/connection/errors.ts'
import { filteredIdOf } from '../../../db/subjects.ts'
import { uuidPattern } from '../../../db/uuid.ts'
import { followCheck, type CheckResult } from '../../audit/ledger-check.ts'
import { positionText } from '../../audit/position.ts'
import { followLedger } from '../../audit/tail.ts'
import { iso, toEventView } from '../../audit/views.ts'
import { AuthError } from '../../errors.ts'
import { eventKinds } from '../../ledger/events.ts'
import type { AccessTokenClaims } from '../../verifier/index.ts'
import { adminProcedure, askingProcedure } from '../access.ts'
import type { ServiceDeps } from '../deps.ts'
import { id, instant, isReadable, limit, pageOf, position, subject } from '../input.ts'
import { mustStillBeAdmin } from '../standing.ts'
import { appRouterOf } from '../trpc.ts'

/** Which events are listed or streamed. */
const filter = {
  kinds: z.array(z.enum(eventKinds)).min(1).max(eventKinds.length).optional(),
  userId: subject.optional(),
  familyId: id.optional(),
}

const events = askingProcedure
  .input(
    z
      .strictObject({
        ...filter,
        from: instant.optional(),
        to: instant.optional(),
        cursor: position.optional(),
        limit,
      })
      .prefault({}),
  )
  .query(async ({ ctx, input }) => {
    const { kinds, userId, familyId, from, to, cursor } = input
    const { questions } = ctx.deps.database
    const ofUser = await filteredIdOf(questions, userId)
    const wanted = { kinds, userId: ofUser, familyId, fromAt: from, toAt: to }
    const page = { cursor, limit: input.limit }
    const rows = await listEvents(questions, wanted, page)
    return pageOf(rows, input.limit, {
      item: toEventView,
      cursor: (event) => positionText(event.position),
    })
  })

/** Checks one family, or all of them. Calls that come while all are being checked share that check. */
const verify = adminProcedure
  .input(z.strictObject({ familyId: id.optional() }).prefault({}))
  .query(async ({ ctx, input, signal }) => {
    const { deps } = ctx
    if (input.familyId === undefined) return verifyAll(deps, signal)
    const verdict = await verifyFamily(deps.database.questions, input.familyId)
    if (verdict.events === 0 && verdict.problem === 'there is no such family')
      throw new AuthError('not_found', 'no such family')
    const { intact, events: count, firstBrokenSeq, problem } = verdict
    const broken = intact ? [] : [{ familyId: input.familyId, firstBrokenSeq, problem }]
    return { intact, families: 1, events: count, broken }
  })

/** The newest checkpoint of the log, or why none is signed, and how far the log is behind. */
const checkpoint = askingProcedure
  .input(z.strictObject({}).prefault({}))
  .query(async ({ ctx }): Promise<LogState> => {
    const { checkpoints, database } = ctx.deps
    const behindMs = await readLogLag(database.questions)
    try {
      const { size, root, note, signedAt } = await checkpoints.current()
      const signed = {
        size,
        root: root.toString('base64'),
        note,
        signedAt: new Date(signedAt).toISOString(),
      }
      return { checkpoint: signed, refusal: null, behindMs }
    } catch (error) {
      const refusal = checkpoints.refusal()
      if (refusal === null) throw error
      return { checkpoint: null, refusal, behindMs }
    }
  })

/** Reads the whole ledger. All who ask for it meanwhile share one check. */
async function verifyAll(
  { database, longReads }: ServiceDeps,
  signal: AbortSignal = new AbortController().signal,
): Promise<CheckResult> {
  for await (const { result } of followCheck(database.questions, longReads, { signal }))
    if (result !== undefined) return result
  throw new AuthError('service_unavailable', 'the caller left during the check')
}

/**
 * Checks the whole ledger and streams how far it is, as SSE, and then the result. Ends when the caller leaves. An admin
 * has one such stream.
 */
const verification = adminProcedure
  .input(z.strictObject({}).prefault({}))
  .subscription(async ({ ctx, signal }) => {
    const { deps, session } = ctx
    const slot = deps.checks.take(session.userId)
    releaseWhenLeft(slot, signal)
    const signals = [slot.closing, ...(signal === undefined ? [] : [signal])]
    return verificationOf(deps, session, { signal: AbortSignal.any(signals), slot })
  })

async function* verificationOf(
  deps: ServiceDeps,
  session: AccessTokenClaims,
  { signal, slot }: { signal: AbortSignal; slot: { release(): void } },
) {
  try {
    const stillMay = () => mustStillBeAdmin(deps, session, 'the stream')
    yield* followCheck(deps.database.questions, deps.longReads, { signal, stillMay })
  } catch (error) {
    if (!isUnavailable(error)) throw error
    throw new AuthError('service_unavailable', 'during the check', { retryAfterSeconds: 1 })
  } finally {
    slot.release()
  }
}

/** `<size>:<epoch ms>:<id>` */
const checkpointCursor = z
  .string()
  .regex(new RegExp(`^\\d{1,15}:\\d{1,15}:${uuidPattern}$`))
  .transform((given) => {
    const [size, signedAt, checkpointId = ''] = given.split(':')
    return { size: Number(size), signedAt: Number(signedAt), id: checkpointId }
  })
  .refine(({ signedAt }) => isReadable(signedAt), 'Invalid cursor')

/** Every checkpoint that was signed, of the largest tree first. */
const listedCheckpoints = askingProcedure
  .input(z.strictObject({ cursor: checkpointCursor.optional(), limit }).prefault({}))
  .query(async ({ ctx, input }) => {
    const rows = await listCheckpoints(ctx.deps.database.questions, input)
    return pageOf(rows, input.limit, {
      item: ({ size, root, note, signedAt }) => ({ size, root, note, signedAt: iso(signedAt) }),
      cursor: (row) => `${row.size}:${row.signedAt}:${row.checkpointId}`,
    })
  })

/** Where a tail would begin now: one that begins after it misses nothing when it connects again before its first event. */
const tailPosition = askingProcedure
  .input(z.strictObject({}).prefault({}))
  .query(async ({ ctx }) => ({
    position: positionText(await readHorizon(ctx.deps.database.questions)),
  }))

/**
 * Streams every event that the filter takes from now on, or after `after`, once and in the order of the ledger, as SSE.
 * The stream ends when the access token expires; a client continues with a new token and the id of its last event.
 */
const tail = adminProcedure
  .input(
    z
      .strictObject({
        ...filter,
        after: position.optional(),
        /** Sent by tRPC's client when it reconnects. */
        lastEventId: position.optional(),
      })
      .prefault({}),
  )
  .subscription(async ({ ctx, input, signal }) => {
    const { deps, session } = ctx
    const slot = deps.tails.take(session.userId)
    releaseWhenLeft(slot, signal)
    const signals = [slot.closing, ...(signal === undefined ? [] : [signal])]
    const after = input.lastEventId ?? input.after ?? null
    const { kinds, userId, familyId } = input
    const isWanted = (event: ListedEvent) =>
      (kinds?.includes(event.kind) ?? true) &&
      (userId ?? event.userId) === event.userId &&
      (familyId ?? event.familyId) === event.familyId
    return tailOf(deps, session, { after, isWanted, signal: AbortSignal.any(signals), slot })
  })

async function* tailOf(
  deps: ServiceDeps,
  session: AccessTokenClaims,
  options: {
    after: z.output<typeof position> | null
    isWanted: (event: ListedEvent) => boolean
    signal: AbortSignal
    slot: { release(): void }
  },
) {
  const { after, isWanted, signal, slot } = options
  const { questions } = deps.database
  const check = () => mustStillBeAdmin(deps, session, 'the stream')
  try {
    for await (const event of followLedger(questions, { after, signal, check }))
      if (isWanted(event)) yield tracked(positionText(event.position), toEventView(event))
  } catch (error) {
    if (!isUnavailable(error)) throw error
    throw new AuthError('service_unavailable', 'during the stream', { retryAfterSeconds: 1 })
  } finally {
    slot.release()
  }
}

/** The `finally` of a stream's generator does not run if the stream is never read. */
function releaseWhenLeft(slot: { release(): void }, signal: AbortSignal | undefined): void {
  // A signal that was aborted before has no event any more.
  if (signal?.aborted === true) slot.release()
  signal?.addEventListener('abort', () => slot.release(), { once: true })
}

type LogState = {
  readonly checkpoint: {
    readonly size: number
    /** SHA-256 in base64. */
    readonly root: string
    /** The signed note. */
    readonly note: string
    readonly signedAt: string
  } | null
  /** Why none is signed. */
  readonly refusal: string | null
  /** The age of the oldest event that is not in the log. */
  readonly behindMs: number
}

export const adminLedgerRouter = appRouterOf({
  events,
  verify,
  verification,
  checkpoint,
  checkpoints: listedCheckpoints,
  position: tailPosition,
  tail,
})
