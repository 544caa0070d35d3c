import { randomBytes } from 'node:crypto'
import { z } from 'zod'
import { insertAdminAction } from '../../../db/audit/admin-actions.ts'
import type { ServiceDeps } from '../deps.ts'
import { canonicalEmail } from '../../users/email.ts'
import { AuthError } from '../../errors.ts'
import { passwordProblem } from '../../users/passwords.ts'
import { revokeUserSessions } from '../../admin/sessions.ts'
import { adminProcedure, mustBeAdmin } from '../access.ts'
import { appRouterOf } from '../trpc.ts'
import type { AccountStore } from '../../users/directory.ts'
import { disableUser, enableUser, setRole as changeRole } from '../../admin/users.ts'
import { id, limit, pageOf, reason, text } from './input.ts'

const role = z.enum(['user', 'admin'])

const list = adminProcedure
  .input(
    z
      .strictObject({
        /** How the address begins. */
        email: text.max(254).optional(),
        cursor: text.max(254).optional(),
        limit,
      })
      .prefault({}),
  )
  .query(async ({ ctx, input }) => {
    const emailPrefix = input.email?.toLowerCase()
    const page = { cursor: input.cursor, limit: input.limit }
    const users = await accountsOf(ctx.deps).list({ emailPrefix }, page)
    return pageOf(users, input.limit, {
      item: ({ id: userId, ...user }) => ({ userId, ...user }),
      cursor: (user) => user.email,
    })
  })

const create = adminProcedure
  .input(
    z.strictObject({
      email: z.string().max(1_000),
      password: z.string().max(4_096).optional(),
      role,
    }),
  )
  .mutation(async ({ ctx, input }) => {
    const email = canonicalEmail(input.email)
    if (email === null) throw invalid('email: Not a valid e-mail address.')
    const problem =
      input.password === undefined
        ? null
        : passwordProblem(input.password, ctx.deps.config.passwordMinLength)
    if (problem !== null) throw invalid(`password: ${problem}`)
    const password = input.password ?? randomBytes(18).toString('base64url')
    const actorUserId = ctx.session.userId
    const user = await accountsOf(ctx.deps).create(
      { email, password, role: input.role },
      async (within, { id: targetUserId }) => {
        // Once more: the hash of the password took its time.
        await mustBeAdmin(ctx.deps, ctx.session)
        await insertAdminAction(within, {
          action: 'user_created',
          actorUserId,
          targetUserId,
          role: input.role,
        })
      },
    )
    return {
      user: { userId: user.id, email: user.email, role: user.role },
      /** Shown this once, when it was made here. */
      password: input.password === undefined ? password : null,
    }
  })

const setRole = adminProcedure
  .input(z.strictObject({ userId: id, role }))
  .mutation(async ({ ctx, input }) => {
    const deps = await depsFor(ctx.deps, input.userId)
    await changeRole(deps, input, { actorUserId: ctx.session.userId })
    return { success: true as const }
  })

const disable = adminProcedure
  .input(z.strictObject({ userId: id }))
  .mutation(async ({ ctx, input: { userId } }) => {
    const deps = await depsFor(ctx.deps, userId)
    const by = { actorUserId: ctx.session.userId, caller: ctx.caller }
    return { success: true as const, revoked: await disableUser(deps, userId, by) }
  })

const enable = adminProcedure
  .input(z.strictObject({ userId: id }))
  .mutation(async ({ ctx, input: { userId } }) => {
    const deps = await depsFor(ctx.deps, userId)
    await enableUser(deps, userId, { actorUserId: ctx.session.userId })
    return { success: true as const }
  })

const revokeSessions = adminProcedure
  .input(z.strictObject({ userId: id, reason }))
  .mutation(async ({ ctx, input: { userId, reason: why } }) => {
    const { deps, caller } = ctx
    await mustKnow(deps, userId)
    const actorUserId = ctx.session.userId
    const act = { actorUserId, reason: why, caller }
    return { revoked: await revokeUserSessions(deps, userId, act) }
  })

export const adminUsersRouter = appRouterOf({
  list,
  create,
  setRole,
  disable,
  enable,
  revokeSessions,
})

function accountsOf(deps: ServiceDeps): AccountStore {
  const { accounts } = deps.users
  if (accounts === undefined)
    throw new AuthError('not_found', 'users are kept in another directory')
  return accounts
}

async function depsFor(
  deps: ServiceDeps,
  userId: string,
): Promise<ServiceDeps & { accounts: AccountStore }> {
  const accounts = accountsOf(deps)
  await mustKnow(deps, userId)
  return { ...deps, accounts }
}

async function mustKnow({ users }: ServiceDeps, userId: string): Promise<void> {
  if (!(await users.findMany([userId])).has(userId))
    throw new AuthError('not_found', 'no such user')
}

function invalid(problem: string): AuthError {
  return new AuthError('validation_failed', problem, { problem })
}
