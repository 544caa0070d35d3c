import { z } from 'zod'
import { readEpoch } from '../../db/ledger/locks.ts'
import { ledgerIdOf } from '../../db/subjects.ts'
import { nilUuid } from '../../db/uuid.ts'
import { AuthError, invalid } from '../errors.ts'
import { startSession } from '../sessions/sign-in.ts'
import type { User } from '../users/directory.ts'
import { canonicalEmail } from '../users/email.ts'
import { findUser } from '../users/team-directory.ts'
import type { AuthContext } from './context.ts'
import { toGrant } from './grant.ts'
import { mustFollowRule, mustNotBeBreached } from './new-password.ts'
import { attemptInput, nextToken } from './next-token.ts'
import { once } from './once.ts'
import { presentedTokens } from './presented-token.ts'
import { authMutation } from './trpc.ts'
import { queueOf, whereFrom } from './where-from.ts'

/** Of the sessions whose cookies one browser sends, how many count: its own, and those of a hostile host. */
const maxSessions = 10

const credentials = z.strictObject({
  email: z.string().max(1_000),
  password: z.string().max(4_096),
})

/** Password-based authentication (RFC 8176). */
export const byPassword = ['pwd'] as const

export const register = authMutation(credentials, async ({ ctx, input }) => {
  const { deps, caller } = ctx
  const { accounts } = deps.users
  if (deps.config.registration === 'closed' || accounts === undefined)
    throw new AuthError('registration_closed', 'REGISTRATION is closed')
  const email = canonicalEmail(input.email)
  if (email === null) throw invalid('email: Not a valid e-mail address.')
  const { password } = input
  mustFollowRule(deps, { field: 'password', password, email })

  await deps.limits.beforeRegistration(caller.ip)
  await mustNotBeBreached(deps, { field: 'password', password })
  const user = await accounts.create({ email, password, role: 'user', network: queueOf(ctx) })
  const userId = ledgerIdOf(user.id)
  deps.logSecurityEvent({ event: 'user_registered', userId, subject: user.id, ip: caller.ip })
  const epoch = await readEpoch(deps.database, userId)
  const signIn = { user, epoch, transport: 'cookie', deviceName: null, caller } as const
  return toGrant(ctx, await startSession(deps, { ...signIn, methods: byPassword }))
})

export const login = authMutation(
  credentials.extend({
    transport: z.enum(['cookie', 'body']).default('cookie'),
    deviceName: z.string().max(100).optional(),
  }),
  async ({ ctx, input }) => {
    const { deps, caller } = ctx
    const { user, epoch, ...attempted } = await checkCredentials(ctx, input)
    if (user === null) {
      deps.logSecurityEvent({
        event: 'sign_in_refused',
        reason: 'invalid_credentials',
        ...attempted,
        ip: caller.ip,
      })
      throw new AuthError('invalid_credentials', 'unknown user, wrong password or disabled')
    }
    const { transport } = input
    const deviceName = input.deviceName?.toWellFormed().replaceAll('\0', '') ?? null
    const signIn = { user, epoch, transport, deviceName, caller, methods: byPassword }
    const session = await startSession(deps, signIn)
    deps.limits.afterSignIn({ userId: session.userId, ip: caller.ip })
    return toGrant(ctx, session)
  },
)

export const refresh = authMutation(attemptInput, ({ ctx, input }) =>
  nextToken(ctx, input, { answer: (session) => toGrant(ctx, session) }),
)

export const logout = authMutation(
  z.strictObject({
    refreshToken: z.string().max(200).optional(),
    everywhere: z.boolean().default(false),
  }),
  async ({ ctx, input }) => {
    const { deps, cookie, caller } = ctx
    const { transport, tokens } = presentedTokens(ctx, input.refreshToken)
    const { everywhere } = input
    const isOnly = tokens.length === 1
    let revoked = 0
    for (const token of tokens.slice(0, maxSessions))
      revoked += await deps.signOut({ token, transport, caller, everywhere, isOnly })
    if (transport === 'cookie') cookie.clear()
    return { success: true as const, revoked }
  },
)

/** Does the same work and gives the same answer for an unknown user, a disabled one and a wrong password. */
async function checkCredentials(
  ctx: AuthContext,
  input: { email: string; password: string },
): Promise<{
  user: User | null
  epoch: number
  userId: string | null
  subject: string | undefined
  accountHash: string
}> {
  const { deps } = ctx
  const email = canonicalEmail(input.email)
  const accountHash = deps.accountHash(email ?? 'no address')
  const findOnce = once(async () => (email === null ? null : deps.users.findByEmail(email)))
  const findUserId = async () => {
    const found = await findOnce()
    return found && ledgerIdOf(found.id)
  }
  let epoch = 0
  const attempt = { accountHash, ...whereFrom(ctx), familyIds: deviceFamilies(ctx), findUserId }
  const isRight = await deps.limits.countingPassword(attempt, async () => {
    const found = await findOnce()
    // Read before the password hash: whatever ends all sessions from here on also fails this sign-in. Read for an
    // unknown address as well, so that it costs the same queries.
    epoch = await readEpoch(deps.database, found === null ? nilUuid : ledgerIdOf(found.id))
    const isOfUser = await deps.users.checkPassword(found, input.password, queueOf(ctx))
    // The limits count a disabled user's own password as any other.
    return isOfUser && found?.disabled === false
  })
  const signedIn = await findOnce()
  const attempted = { userId: await findUserId(), subject: signedIn?.id, accountHash }
  if (!isRight || signedIn === null) return { user: null, epoch, ...attempted }
  // Catches a user disabled before the epoch was read; `startSession` compares the epoch and catches
  // one disabled later.
  const current = await findUser(deps.users, signedIn.id)
  const user = current === undefined || current.disabled ? null : current
  return { user, epoch, ...attempted }
}

/** The families of the refresh tokens that the browser still has, whatever became of them. */
function deviceFamilies(ctx: AuthContext): string[] {
  const { tokens } = presentedTokens(ctx, undefined)
  return tokens.slice(0, maxSessions).map(({ familyId }) => familyId)
}
