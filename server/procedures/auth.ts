import { z } from 'zod'
import { readSession } from '../../db/audit/sessions.ts'
import { readEpoch } from '../../db/ledger/locks.ts'
import { AuthError, invalid } from '../errors.ts'
import type { Transport } from '../ledger/events.ts'
import { RefreshRefused } from '../sessions/refresh-refused.ts'
import { endAllSessions, endSession } from '../sessions/revocation.ts'
import type { LiveSession } from '../sessions/session.ts'
import { startSession } from '../sessions/sign-in.ts'
import { parseRefreshToken, type RefreshToken } from '../tokens/refresh-token.ts'
import type { User } from '../users/directory.ts'
import { canonicalEmail } from '../users/email.ts'
import { passwordProblem } from '../users/passwords.ts'
import type { AuthContext } from './context.ts'
import { authMutation } from './trpc.ts'
import { queueOf, whereFrom } from './where-from.ts'

const credentials = z.strictObject({
  email: z.string().max(1_000),
  password: z.string().max(4_096),
})

export const register = authMutation(credentials, async ({ ctx, input }) => {
  const { deps, caller } = ctx
  const { accounts } = deps.users
  if (deps.config.registration === 'closed' || accounts === undefined)
    throw new AuthError('registration_closed', 'REGISTRATION is closed')
  const email = canonicalEmail(input.email)
  if (email === null) throw invalid('email: Not a valid e-mail address.')
  const problem = passwordProblem(input.password, deps.config.passwordMinLength)
  if (problem !== null) throw invalid(`password: ${problem}`)

  await deps.limits.beforeRegistration(caller.ip)
  const { password } = input
  const user = await accounts.create({ email, password, role: 'user', network: queueOf(ctx) })
  deps.logSecurityEvent({ event: 'user_registered', userId: user.id, ip: caller.ip })
  const epoch = await readEpoch(deps.database, user.id)
  const signIn = { user, epoch, transport: 'cookie', deviceName: null, caller } as const
  return toGrant(ctx, await startSession(deps, signIn))
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
    const signIn = { user, epoch, transport, deviceName, caller }
    const session = await startSession(deps, signIn)
    deps.limits.afterSignIn({ userId: user.id, ip: caller.ip })
    return toGrant(ctx, session)
  },
)

export const refresh = authMutation(
  z.strictObject({
    attemptId: z.uuid().optional(),
    refreshToken: z.string().max(200).optional(),
  }),
  async ({ ctx, input }) => {
    const { deps, cookie, caller, isClientWaiting } = ctx
    const { transport, value } = presentedToken(ctx, input.refreshToken)
    if (value === null) throw new AuthError('refresh_token_missing', 'neither cookie nor body')
    const token = parseRefreshToken(deps.refreshKeys, value)
    if (token === null) {
      if (transport === 'cookie') cookie.clear()
      throw new AuthError('refresh_token_malformed', 'its MAC does not match')
    }
    const refusalUnlessReuse = await deps.limits.beforeRefresh(token.familyId)
    const attemptId = input.attemptId?.toLowerCase() ?? null
    const request = { token, transport, attemptId, caller, isClientWaiting, refusalUnlessReuse }
    try {
      const session = await deps.rotate(request)
      const { familyId, user } = session
      deps.limits.afterRefresh({ familyId, userId: user.id, ip: caller.ip })
      return toGrant(ctx, session)
    } catch (error) {
      // Clear the cookie only if it can never work again: after a lost race the browser already holds
      // the cookie that the winner set.
      if (error instanceof RefreshRefused && error.isFinal && transport === 'cookie') cookie.clear()
      throw error
    }
  },
)

export const logout = authMutation(
  z.strictObject({
    refreshToken: z.string().max(200).optional(),
    everywhere: z.boolean().default(false),
  }),
  async ({ ctx, input }) => {
    const { transport, value } = presentedToken(ctx, input.refreshToken)
    const token = value === null ? null : parseRefreshToken(ctx.deps.refreshKeys, value)
    const revoked = token === null ? 0 : await endPresented(ctx, { token, transport }, input)
    if (transport === 'cookie') ctx.cookie.clear()
    return { success: true as const, revoked }
  },
)

/** Does the same work and gives the same answer for an unknown user, a disabled one and a wrong password. */
async function checkCredentials(
  ctx: AuthContext,
  input: { email: string; password: string },
): Promise<{ user: User | null; epoch: number; userId: string | null; accountHash: string }> {
  const { deps } = ctx
  const email = canonicalEmail(input.email)
  const accountHash = deps.accountHash(email ?? 'no address')
  const findUser = once(async () => (email === null ? null : deps.users.findByEmail(email)))
  const findUserId = async () => (await findUser())?.id ?? null
  let epoch = 0
  const attempt = { accountHash, ...whereFrom(ctx), familyId: deviceFamily(ctx), findUserId }
  const isRight = await deps.limits.countingPassword(attempt, async () => {
    const found = await findUser()
    // Read before the password hash: whatever ends all sessions from here on also fails this sign-in.
    epoch = await readEpoch(deps.database, found?.id ?? unknownUserId)
    return deps.users.checkPassword(found, input.password, queueOf(ctx))
  })
  const userId = await findUserId()
  if (!isRight || userId === null) return { user: null, epoch, userId, accountHash }
  // Catches a user disabled before the epoch was read; `startSession` compares the epoch and catches
  // one disabled later.
  const current = (await deps.users.findMany([userId])).get(userId)
  const user = current === undefined || current.disabled ? null : current
  return { user, epoch, userId, accountHash }
}

function once<T>(work: () => Promise<T>): () => Promise<T> {
  let result: Promise<T> | undefined
  return () => (result ??= work())
}

/** The family of the refresh token that the browser still has, whatever became of it. */
function deviceFamily({ deps, cookie }: AuthContext): string | null {
  if (cookie.value === null) return null
  return parseRefreshToken(deps.refreshKeys, cookie.value)?.familyId ?? null
}

/** No user has it: its epoch is read so that an unknown address costs the same queries. */
const unknownUserId = '00000000-0000-0000-0000-000000000000'

/** @throws {AuthError} `validation_failed` for a token in both places: one credential per request (RFC 6750 §2) */
function presentedToken(
  { cookie }: AuthContext,
  bodyToken: string | undefined,
): { transport: Transport; value: string | null } {
  if (bodyToken === undefined) return { transport: 'cookie', value: cookie.value }
  if (cookie.value !== null)
    throw invalid('refreshToken: The cookie already carries a refresh token.')
  return { transport: 'body', value: bodyToken }
}

async function endPresented(
  { deps, caller }: AuthContext,
  presented: { token: RefreshToken; transport: Transport },
  { everywhere }: { everywhere: boolean },
): Promise<number> {
  const familyId = presented.token.familyId
  const family = await readSession(deps.database, familyId)
  if (family === null) return 0
  if (family.transport !== presented.transport)
    throw new AuthError('transport_mismatch', `a ${family.transport} family`)
  // A session that is over stays over, so no lock is needed.
  if (family.status !== 'active') return 0
  const actorUserId = family.userId
  if (everywhere) {
    const by = { reason: 'logout_everywhere', actorUserId, caller } as const
    const revoked = await endAllSessions(deps, family.userId, { by, callingSession: familyId })
    return revoked ?? 0
  }
  const ended = await endSession(deps, { familyId }, { reason: 'logout', actorUserId, caller })
  return ended === true ? 1 : 0
}

function toGrant({ deps, cookie }: AuthContext, session: LiveSession) {
  const { familyId, user, token, transport } = session
  const { accessToken, expiresIn } = deps.accessTokens.forSession(session)
  if (transport === 'cookie') cookie.set(token.value, session.refreshRemainingMs)
  return {
    accessToken,
    tokenType: 'Bearer' as const,
    expiresIn,
    refreshExpiresAt: new Date(session.refreshExpiresAt).toISOString(),
    familyId,
    user: { id: user.id, email: user.email, role: user.role },
    ...(transport === 'body' && { refreshToken: token.value }),
  }
}
