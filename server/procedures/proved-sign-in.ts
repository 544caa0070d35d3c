import { isIP } from 'node:net'
import { z } from 'zod'
import { readEpoch } from '../../db/ledger/locks.ts'
import { ledgerIdOf } from '../../db/subjects.ts'
import { AuthError } from '../errors.ts'
import { maxMethods, methodPattern } from '../ledger/events.ts'
import { startSession } from '../sessions/sign-in.ts'
import { findUser } from '../users/team-directory.ts'
import type { AuthContext } from './context.ts'
import { toGrant, type Grant } from './grant.ts'
import { id, instant, subject, text } from './input.ts'
import { authMutation } from './trpc.ts'

/** As the ledger takes them: `amr` of RFC 8176, or words of your own such as `urn:example:passkey`. */
export const methods = z.array(z.string().regex(methodPattern)).min(1).max(maxMethods)

/** Without a zone, which Postgres does not take. */
const address = z
  .string()
  .max(45)
  .refine((given) => isIP(given) !== 0 && !given.includes('%'), 'Invalid address')

/** The part of a sign-in that does not depend on how it reaches the service. */
export const provedSignIn = z.strictObject({
  user: subject,
  methods,
  transport: z.enum(['cookie', 'body']),
  deviceName: z.string().max(100).optional(),
})

export type ProvedSignIn = z.output<typeof provedSignIn> & {
  /** Epoch milliseconds; now unless given. */
  readonly authenticatedAt?: number | undefined
}

/**
 * Starts a session of a user whom another part of the team's software has just signed in. It is like `login` after the
 * password was right: whatever ends all sessions from this call on also fails this sign-in.
 *
 * @throws {AuthError} `sign_in_refused` for a user who is unknown or disabled, `too_many_attempts`
 */
export async function beginSession(ctx: AuthContext, proved: ProvedSignIn): Promise<Grant> {
  const { deps, caller } = ctx
  const userId = ledgerIdOf(proved.user)
  const epoch = await readEpoch(deps.database, userId)
  const user = await findUser(deps.users, proved.user)
  if (user === undefined || user.disabled)
    throw new AuthError('sign_in_refused', 'an unknown or a disabled user')
  await deps.limits.beforeProvedSignIn(userId)
  const session = await startSession(deps, {
    user,
    epoch,
    transport: proved.transport,
    deviceName: proved.deviceName?.toWellFormed().replaceAll('\0', '') ?? null,
    caller,
    methods: proved.methods,
    authenticatedAt: proved.authenticatedAt ?? null,
  })
  deps.limits.afterSignIn({ userId, ip: caller.ip })
  return toGrant(ctx, session)
}

/**
 * `POST /auth/sessions`: the same for another service. The route has checked its SIGN_IN_TOKEN. Each `attemptId` starts
 * one session at most, so that a request that is sent twice does not start a second one.
 */
export const sessions = authMutation(
  provedSignIn.extend({
    attemptId: id,
    authenticatedAt: instant.refine((at) => at >= 0, 'The year must be 1970 or later').optional(),
    ip: address.optional(),
    userAgent: text.max(512).optional(),
  }),
  async ({ ctx, input }) => {
    const { attemptId, ip = null, userAgent = null, ...proved } = input
    const caller = { ip, userAgent }
    if (!(await ctx.deps.signInAttempts.claim(attemptId)))
      throw new AuthError('sign_in_refused', 'an attemptId that was used before')
    return beginSession({ ...ctx, caller, isAddressShared: false }, proved)
  },
)
