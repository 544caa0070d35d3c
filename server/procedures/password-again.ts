import type { User } from '../users/directory.ts'
import { findOwner } from '../users/team-directory.ts'
import type { BaseContext } from './context.ts'
import { queueOf, whereFrom } from './where-from.ts'

/**
 * Checks the password of a user who has a session. It counts as a guess, as at a sign-in.
 *
 * @param given `userId`: as the ledger has it; `familyIds`: of tokens that the caller presents, which have guesses of their own
 * @returns `user`: null when the password is wrong, or the user is gone
 * @throws {AuthError} `too_many_attempts`
 */
export async function checkPasswordAgain(
  ctx: BaseContext,
  given: { userId: string | null; familyIds: readonly string[]; password: string },
): Promise<{ user: User | null; accountHash: string }> {
  const { deps } = ctx
  const { userId, familyIds, password } = given
  const user = userId === null ? null : ((await findOwner(deps.users, userId)) ?? null)
  const accountHash = deps.accountHash(user?.email ?? 'no address')
  const attempt = { accountHash, ...whereFrom(ctx), familyIds, findUserId: async () => userId }
  const isRight = await deps.limits.countingPassword(attempt, () =>
    deps.users.checkPassword(user, password, queueOf(ctx)),
  )
  return { user: isRight ? user : null, accountHash }
}
