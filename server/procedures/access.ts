import { readStanding } from '../../db/audit/standing.ts'
import type { Transaction } from '../../db/connection/transaction.ts'
import { ledgerIdOf } from '../../db/subjects.ts'
import { AuthError } from '../errors.ts'
import type { Actor } from '../sessions/act.ts'
import type { AccessTokenClaims } from '../verifier/index.ts'
import type { AppContext } from './context.ts'
import { asUnavailable } from './error-formatter.ts'
import { mustBeAdmin, mustBeAlive } from './standing.ts'
import { appTrpc } from './trpc.ts'

const appProcedures = appTrpc.procedure.use(async ({ next }) => {
  const result = await next()
  if (!result.ok) throw asUnavailable(result.error)
  return result
})

/** Needs a valid access token of a session that this process does not know to have ended. */
const bearerProcedure = appProcedures.use(async ({ ctx, next }) => {
  const session = await ctx.bearer.claims()
  return next({ ctx: { session } })
})

/**
 * Needs an active session according to this process's list of ended sessions, which is at most five seconds
 * behind. While the list cannot be kept up to date, the database is asked.
 */
export const signedInProcedure = bearerProcedure.use(async ({ ctx, next }) => {
  const isKnownActive = ctx.deps.endedSessions.stateOf(ctx.session.familyId) === 'active'
  if (!isKnownActive) await inTime(ctx.bearer.mustBeAlive())
  return next()
})

/**
 * Needs a session that is active now according to the database. A mutation passes `by` on: the database is
 * asked again once everything is locked.
 */
export const liveProcedure = bearerProcedure.use(async ({ ctx, next }) => {
  await ctx.bearer.mustBeAlive()
  const mayAct = async (tx: Transaction) =>
    void mustBeAlive(await readStanding(tx, ctx.session.familyId))
  return next({ ctx: { by: byCaller(ctx, mayAct) } })
})

/**
 * Needs a session that is active now, and a user who has the admin role now, according to the database. A
 * mutation passes `by` on, as above.
 */
export const adminProcedure = bearerProcedure.use(async ({ ctx, path, next }) => {
  await ctx.bearer.mustBeAdmin()
  const { deps, caller, session } = ctx
  deps.logSecurityEvent({
    event: 'admin_called',
    procedure: path,
    actorUserId: ledgerIdOf(session.userId),
    ip: caller.ip,
  })
  const mayAct = async (tx: Transaction) =>
    mustBeAdmin(deps, session, mustBeAlive(await readStanding(tx, session.familyId)))
  return next({ ctx: { by: byCaller(ctx, mayAct) } })
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

function byCaller(
  { caller, session }: AppContext & { readonly session: AccessTokenClaims },
  mayAct: Actor['mayAct'],
) {
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
