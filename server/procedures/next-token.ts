import { z } from 'zod'
import { maxPreviousAttempts } from '../ledger/events.ts'
import type { ProofAgain } from '../sessions/refresh-decision.ts'
import { RefreshRefused } from '../sessions/refresh-refused.ts'
import type { LiveSession } from '../sessions/session.ts'
import type { RefreshToken } from '../tokens/refresh-token.ts'
import type { AuthContext } from './context.ts'
import { presentedTokens, tokenToRefresh } from './presented-token.ts'

/** An attempt to get the next token of a session. */
export const attemptInput = z.strictObject({
  attemptId: z.uuid().optional(),
  previousAttemptIds: z.array(z.uuid()).max(maxPreviousAttempts).optional(),
  familyId: z.uuid().optional(),
  refreshToken: z.string().max(200).optional(),
})

/** How a user proves again who they are. It is asked once the token is known to be authentic, and throws to refuse. */
export type Prove = (token: RefreshToken) => Promise<ProofAgain>

/**
 * Presents the request's refresh token, and answers with the next one by the rotation rules.
 *
 * @param prove without it this is a refresh
 * @throws {AuthError} as `Rotate`, and what `prove` throws
 */
export async function nextToken<Answer>(
  ctx: AuthContext,
  input: z.output<typeof attemptInput>,
  { answer, prove }: { answer: (session: LiveSession) => Answer; prove?: Prove },
): Promise<Answer> {
  const { deps, cookie, caller, isClientWaiting } = ctx
  const presented = presentedTokens(ctx, input.refreshToken)
  const token = tokenToRefresh(presented, ctx, input.familyId?.toLowerCase())
  const { transport } = presented
  const refusalUnlessReuse = await deps.limits.beforeRefresh(token.familyId)
  // Above the limit it is refused in any case, or ends the family as a reuse.
  const reauthentication =
    prove !== undefined && refusalUnlessReuse === null ? await prove(token) : undefined
  const attemptId = input.attemptId?.toLowerCase() ?? null
  const request = {
    token,
    transport,
    attemptId,
    previousAttemptIds: input.previousAttemptIds?.map((given) => given.toLowerCase()) ?? [],
    caller,
    isClientWaiting,
    refusalUnlessReuse,
    ...(reauthentication && { reauthentication }),
  }
  try {
    const session = await deps.rotate(request)
    const { familyId, userId } = session
    deps.limits.afterRefresh({ familyId, userId, ip: caller.ip })
    return answer(session)
  } catch (error) {
    // Clear the cookie only if it can never work again: after a lost race the browser already holds
    // the cookie that the winner set.
    if (error instanceof RefreshRefused && error.isFinal && transport === 'cookie') cookie.clear()
    throw error
  }
}
