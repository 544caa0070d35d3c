import type { Transaction } from '../../db/connection/transaction.ts'
import { ledgerIdOf } from '../../db/subjects.ts'
import { AuthError } from '../errors.ts'
import type { Actor } from '../sessions/act.ts'
import type { AccessTokenClaims } from '../verifier/index.ts'
import type { AppContext } from './context.ts'
import { asUnavailable } from './error-formatter.ts'
import { mustBeAdmin, readAlive } from './standing.ts'
import { appTrpc } from './trpc.ts'

/**
 * A procedure that `admit` lets callers in to. It is one middleware, because tRPC copies a call's options twice for each,
 * which takes longer than most of what follows.
 *
 * @param admit resolves with what it adds to the context
 */
function admittedBy<Added extends object>(
  admit: (ctx: AppContext, path: string) => Promise<Added>,
) {
  return appTrpc.procedure.use(async ({ ctx, path, next }) => {
    const result = await next({ ctx: await orUnavailable(admit(ctx, path)) })
    if (!result.ok) throw asUnavailable(result.error)
    return result
  })
}

async function orUnavailable<T>(admission: Promise<T>): Promise<T> {
  try {
    return await admission
  } catch (error) {
    throw asUnavailable(error)
  }
}

/**
 * Needs a valid access token of an active session according to this process's list of ended sessions, which is at most
 * five seconds behind. While the list cannot be kept up to date, the database is asked.
 */
export const signedInProcedure = admittedBy(async ({ bearer, deps }) => {
  const session = await bearer.claims()
  if (deps.endedSessions.stateOf(session.familyId) !== 'active') await inTime(bearer.mustBeAlive())
  return { session }
})

/**
 * Needs a valid access token of a session that is active now according to the database. A mutation passes `by` on: the
 * database is asked again once everything is locked.
 */
export const liveProcedure = admittedBy(async (ctx) => {
  const session = await ctx.bearer.claims()
  await ctx.bearer.mustBeAlive()
  const mayAct = async (tx: Transaction) => void (await readAlive(tx, session.familyId))
  return { session, by: byCaller(ctx, session, mayAct) }
})

/**
 * Needs a valid access token of a session that is active now, and a user who has the admin role now, according to the
 * database. A mutation passes `by` on, as above.
 */
export const adminProcedure = admittedBy(async (ctx, path) => {
  const { bearer, deps, caller } = ctx
  const session = await bearer.claims()
  await bearer.mustBeAdmin()
  deps.logSecurityEvent({
    event: 'admin_called',
    procedure: path,
    actorUserId: ledgerIdOf(session.userId),
    ip: caller.ip,
  })
  const mayAct = async (tx: Transaction) =>
    mustBeAdmin(deps, session, await readAlive(tx, session.familyId))
  return { session, by: byCaller(ctx, session, mayAct) }
})

/** As `liveProcedure`, for what a stolen access token must not do alone: the user has to have authenticated lately. */
export const recentProcedure = liveProcedure.use(async ({ ctx, next }) => {
  mustBeRecent(ctx)
  return next()
})

/** As `adminProcedure`, for whatever changes something. */
export const adminActProcedure = adminProcedure.use(async ({ ctx, next }) => {
  mustBeRecent(ctx)
  return next()
})

/** For a list of the caller's own: one at a time per user in this process. */
export const listingProcedure = liveProcedure.use(async ({ ctx, next }) =>
  ctx.deps.turns(ctx.by.actorUserId, () => next()),
)

/** For a question that may read much: one at a time per admin in this process. */
export const askingProcedure = adminProcedure.use(async ({ ctx, next }) =>
  ctx.deps.turns(ctx.by.actorUserId, () => next()),
)

/** @throws {AuthError} `step_up_required`: by the time of the database, as the token's `auth_time` is */
function mustBeRecent({
  deps: { config, signingKeys },
  session: { authenticatedAt },
}: AppContext & { readonly session: AccessTokenClaims }): void {
  const { maxAuthAgeMs } = config
  if (signingKeys.now() - authenticatedAt <= maxAuthAgeMs) return
  const maxAgeSeconds = maxAuthAgeMs / 1000
  const detail = `authenticated more than ${maxAgeSeconds} s ago`
  throw new AuthError('step_up_required', detail, { maxAgeSeconds })
}

function byCaller({ caller }: AppContext, session: AccessTokenClaims, mayAct: Actor['mayAct']) {
  const userId = ledgerIdOf(session.userId)
  const actor: Actor = { userId, familyId: session.familyId, mayAct }
  return { actor, actorUserId: userId, caller }
}

/** A call that normally needs no database waits this long for an unresponsive one. */
const answerTimeoutMs = 3_000

async function inTime(check: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_resolve, reject) => {
    const error = new AuthError('service_unavailable', 'no answer from the database within 3 s', {
      retryAfterSeconds: 1,
    })
    timer = setTimeout(() => reject(error), answerTimeoutMs)
  })
  await Promise.race([check, timeout]).finally(() => clearTimeout(timer))
}
