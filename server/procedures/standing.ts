import { readStanding, type Standing } from '../../db/audit/standing.ts'
import { AuthError } from '../errors.ts'
import { findUser } from '../users/team-directory.ts'
import type { AccessTokenClaims } from '../verifier/index.ts'
import type { ServiceDeps } from './deps.ts'

/**
 * Takes what the database says of the session now.
 *
 * @throws {AuthError} `access_token_revoked`
 */
export function mustBeAlive(standing: Standing | null): Standing {
  if (standing?.status !== 'active')
    throw new AuthError('access_token_revoked', `the session is ${standing?.status ?? 'unknown'}`)
  return standing
}

/**
 * Session and account as the database has them now.
 *
 * @param sql a pool, or the transaction that acts for the session
 * @throws {AuthError} `access_token_revoked`
 */
export async function readAlive(
  sql: Parameters<typeof readStanding>[0],
  familyId: string,
): Promise<Standing> {
  return mustBeAlive(await readStanding(sql, familyId))
}

/**
 * Asked again and again while a stream is open.
 *
 * @param during the stream, for the log
 */
export async function mustStillBeAdmin(
  deps: Pick<ServiceDeps, 'database' | 'users'>,
  session: AccessTokenClaims,
  during: string,
): Promise<void> {
  if (Date.now() >= session.expiresAt)
    throw new AuthError('access_token_expired', `expired during ${during}`)
  const standing = await readAlive(deps.database.questions.statements, session.familyId)
  await mustBeAdmin(deps, session, standing)
}

/**
 * Takes the account that was read with the session. A user directory of the embedder is asked.
 *
 * @throws {AuthError} `role_required`
 */
export async function mustBeAdmin(
  { users }: Pick<ServiceDeps, 'users'>,
  { userId }: AccessTokenClaims,
  { account }: Standing,
): Promise<void> {
  const user =
    'fromAccountRow' in users
      ? account && users.fromAccountRow(account)
      : await findUser(users, userId)
  if (user?.role !== 'admin' || user.disabled)
    throw new AuthError('role_required', 'not an admin now')
}
