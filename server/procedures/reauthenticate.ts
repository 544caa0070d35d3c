import { z } from 'zod'
import { readOwner } from '../../db/audit/sessions.ts'
import { ledgerIdOf } from '../../db/subjects.ts'
import { AuthError } from '../errors.ts'
import type { ProofAgain } from '../sessions/refresh-decision.ts'
import type { RefreshToken } from '../tokens/refresh-token.ts'
import { byPassword } from './auth.ts'
import type { AuthContext } from './context.ts'
import { toGrant } from './grant.ts'
import { subject } from './input.ts'
import { attemptInput, nextToken, type Prove } from './next-token.ts'
import { checkPasswordAgain } from './password-again.ts'
import { methods } from './proved-sign-in.ts'
import { authMutation } from './trpc.ts'

/** Required: no grace window covers the replaced token, so a lost answer is repaired by its attempt alone. */
export const reauthenticationInput = attemptInput.extend({ attemptId: z.uuid() })

/**
 * Step-up: the password again. It is in `/auth`, because it replaces the refresh token (OWASP ASVS 5.0, 7.2.4), and
 * the cookie comes nowhere else.
 */
export const reauthenticate = authMutation(
  reauthenticationInput.extend({ password: z.string().max(4_096) }),
  async ({ ctx, input: { password, ...attempt } }) =>
    replaceToken(ctx, attempt, (token) => provePassword(ctx, token, password)),
)

export type Reauthenticated = Awaited<ReturnType<typeof replaceToken>>

/** Replaces the token of a user whom `prove` finds to be the same. */
export function replaceToken(
  ctx: AuthContext,
  attempt: z.output<typeof reauthenticationInput>,
  prove: Prove,
) {
  return nextToken(ctx, attempt, {
    prove,
    answer: (session) => ({
      ...toGrant(ctx, session),
      /** False where a refresh had spent the token before: this is its answer, and the next attempt will succeed. */
      isReauthenticated: session.isReauthenticated === true,
    }),
  })
}

/** What an app has found out about the user of a session, by any means of its own. */
export const provedAgain = z.strictObject({
  methods,
  authenticatedAt: z.number().int().min(0).optional(),
  user: subject.transform(ledgerIdOf).optional(),
})

/** @throws {AuthError} `invalid_credentials` for a proof about another user than that of the session */
export async function takeProof(
  { deps }: AuthContext,
  { familyId }: RefreshToken,
  { user, methods: by, authenticatedAt }: z.output<typeof provedAgain>,
): Promise<ProofAgain> {
  if (user !== undefined && (await readOwner(deps.database, familyId)) !== user)
    throw new AuthError('invalid_credentials', 'the proof is about another user')
  return { methods: by, authenticatedAt: authenticatedAt ?? null }
}

/** @throws {AuthError} `invalid_credentials`, `too_many_attempts` */
async function provePassword(
  ctx: AuthContext,
  { familyId }: RefreshToken,
  password: string,
): Promise<ProofAgain> {
  const { deps, caller } = ctx
  const ownerId = await readOwner(deps.database, familyId)
  const given = { userId: ownerId, familyIds: [familyId], password }
  const { user, accountHash } = await checkPasswordAgain(ctx, given)
  if (user !== null) return { methods: byPassword, authenticatedAt: null }
  const reason = 'invalid_credentials'
  const about = { reason, userId: ownerId, accountHash, ip: caller.ip } as const
  deps.logSecurityEvent({ event: 'sign_in_refused', ...about })
  throw new AuthError(reason, 'the password is wrong')
}
