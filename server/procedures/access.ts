import { readSession } from '../../db/audit/sessions.ts'
import { AuthError } from '../errors.ts'
import { type AccessTokenClaims, AccessTokenError } from '../verifier/index.ts'
import type { AppContext } from './context.ts'
import type { ServiceDeps } from './deps.ts'
import { asUnavailable } from './error-formatter.ts'
import { appTrpc } from './trpc.ts'

const appProcedures = appTrpc.procedure.use(async ({ next }) => {
  const result = await next()
  if (!result.ok) throw asUnavailable(result.error)
  return result
})

/** Needs a valid access token of a session that this process does not know to have ended. */
const bearerProcedure = appProcedures.use(async ({ ctx, next }) => {
  const session = await claimsOf(ctx)
  const state = ctx.deps.endedSessions.stateOf(session.familyId)
  if (state === 'ended') throw new AuthError('access_token_revoked', 'the session is over')
  return next({ ctx: { ...ctx, session, isKnownActive: state === 'active' } })
})

/**
 * Needs an active session according to this process's list of ended sessions, which is at most five seconds
 * behind. While the list cannot be kept up to date, the database is asked.
 */
export const signedInProcedure = bearerProcedure.use(async ({ ctx, next }) => {
  if (!ctx.isKnownActive) await inTime(mustBeAlive(ctx.deps, ctx.session))
  return next({ ctx })
})

/** Needs a session that is active now according to the database. */
export const liveProcedure = bearerProcedure.use(async ({ ctx, next }) => {
  await mustBeAlive(ctx.deps, ctx.session)
  return next({ ctx })
})

/** Needs a session that is active now, and a user who has the admin role now, according to the database. */
export const adminProcedure = bearerProcedure.use(async ({ ctx, path, next }) => {
  await mustBeAdmin(ctx.deps, ctx.session)
  const { deps, caller, session } = ctx
  deps.logSecurityEvent({
    event: 'admin_called',
    procedure: path,
    actorUserId: session.userId,
    ip: caller.ip,
  })
  return next({ ctx })
})

async function mustBeAlive({ database }: ServiceDeps, session: AccessTokenClaims): Promise<void> {
  const state = await readSession(database, session.familyId)
  if (state?.status !== 'active')
    throw new AuthError('access_token_revoked', `the session is ${state?.status ?? 'unknown'}`)
}

/** A call that normally needs no database waits this long for an unresponsive one. */
const answerTimeoutMs = 3_000

async function inTime(check: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_resolve, reject) => {
    const error = new AuthError('service_unavailable', 'no answer from the database within 3 s', {
      retryAfterSeconds: 1,
    })
    timer = setTimeout(() => reject(error), answerTimeoutMs)
  })
  await Promise.race([check, timeout]).finally(() => clearTimeout(timer))
}

/** @throws {AuthError} `access_token_revoked`, `role_required`: according to the database, now */
export async function mustBeAdmin(deps: ServiceDeps, session: AccessTokenClaims): Promise<void> {
  await mustBeAlive(deps, session)
  const { userId } = session
  const user = (await deps.users.findMany([userId])).get(userId)
  if (user?.role !== 'admin' || user.disabled)
    throw new AuthError('role_required', 'not an admin now')
}

async function claimsOf({ deps, authorization }: AppContext): Promise<AccessTokenClaims> {
  try {
    return await deps.verifier.verifyAuthorization(authorization)
  } catch (error) {
    if (error instanceof AccessTokenError) throw new AuthError(error.reason, error.detail)
    throw error
  }
}
