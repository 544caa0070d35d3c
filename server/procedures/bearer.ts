import { ledgerIdOf } from '../../db/subjects.ts'
import { AuthError } from '../errors.ts'
import { type AccessTokenClaims, AccessTokenError } from '../verifier/index.ts'
import type { ServiceDeps } from './deps.ts'
import { once } from './once.ts'
import { mustBeAdmin, mustBeAlive } from './standing.ts'

/**
 * The caller of one request. Whatever the calls of its batch ask, the token is verified once, the calls are
 * counted once, and the database is asked once.
 */
export type Bearer = {
  /** @throws {AuthError} `access_token_…`, `too_many_attempts` */
  claims(): Promise<AccessTokenClaims>
  /** @throws {AuthError} as `claims`, and `access_token_revoked` according to the database */
  mustBeAlive(): Promise<unknown>
  /** @throws {AuthError} as `mustBeAlive`, and `role_required` */
  mustBeAdmin(): Promise<void>
}

/** @param request.calls the number of calls in its batch */
export function bearerOf(
  deps: ServiceDeps,
  request: { readonly authorization: string | undefined; readonly calls: number },
): Bearer {
  const claims = once(async () => {
    const session = await verify(deps, request.authorization)
    if (deps.endedSessions.stateOf(session.familyId) === 'ended')
      throw new AuthError('access_token_revoked', 'the session is over')
    const { userId, familyId } = session
    await deps.callLimits.count({ userId: ledgerIdOf(userId), familyId }, request.calls)
    return session
  })
  const standing = once(async () => mustBeAlive(await deps.standingOf((await claims()).familyId)))
  const admin = once(async () => mustBeAdmin(deps, await claims(), await standing()))
  return { claims, mustBeAlive: standing, mustBeAdmin: admin }
}

async function verify(
  { verifier }: ServiceDeps,
  authorization: string | undefined,
): Promise<AccessTokenClaims> {
  try {
    return await verifier.verifyAuthorization(authorization)
  } catch (error) {
    if (error instanceof AccessTokenError) throw new AuthError(error.reason, error.detail)
    throw error
  }
}
