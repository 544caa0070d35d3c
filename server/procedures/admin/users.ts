import { z } from 'zod'
import { countSessionsOf } from '../../../db/audit/session-counts.ts'
import { ledgerIdOf } from '../../../db/subjects.ts'
import { revokeUserSessions } from '../../admin/sessions.ts'
import {
  createUser,
  disableUser,
  enableUser,
  newPassword,
  setRole as changeRole,
} from '../../admin/users.ts'
import { AuthError, invalid } from '../../errors.ts'
import type { AccountStore } from '../../users/directory.ts'
import { canonicalEmail } from '../../users/email.ts'
import { findUser } from '../../users/team-directory.ts'
import { adminActProcedure, askingProcedure } from '../access.ts'
import type { ServiceDeps } from '../deps.ts'
import { limit, pageOf, reason, subject, text } from '../input.ts'
import { mustFollowRule, mustNotBeBreached } from '../new-password.ts'
import { appRouterOf } from '../trpc.ts'

const role = z.enum(['user', 'admin'])

const list = askingProcedure
  .input(
    z
      .strictObject({
        /** A prefix of the address. */
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
    const ids = users.map((user) => ledgerIdOf(user.id))
    const counts = await countSessionsOf(ctx.deps.database.questions, ids)
    return pageOf(users, input.limit, {
      item: ({ id: userId, ...user }) => ({
        userId,
        ...user,
        activeSessions: counts.get(ledgerIdOf(userId)) ?? 0,
      }),
      cursor: (user) => user.email,
    })
  })

const create = adminActProcedure
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
    if (input.password !== undefined) {
      const chosen = { field: 'password', password: input.password, email } as const
      mustFollowRule(ctx.deps, chosen)
      await mustNotBeBreached(ctx.deps, chosen)
    }
    const password = input.password ?? newPassword()
    const account = { email, password, role: input.role }
    const user = await createUser(accountsOf(ctx.deps), account, ctx.by)
    return {
      user: { userId: user.id, email: user.email, role: user.role },
      /** A generated password is shown only here; null if the caller chose one. */
      password: input.password === undefined ? password : null,
    }
  })

const setRole = adminActProcedure
  .input(z.strictObject({ userId: subject, role }))
  .mutation(async ({ ctx, input }) => {
    const deps = await depsFor(ctx.deps, input.userId)
    await changeRole(deps, input, ctx.by)
    return { success: true as const, ...(await effectOf(deps, input.userId, 0)) }
  })

const disable = adminActProcedure
  .input(z.strictObject({ userId: subject }))
  .mutation(async ({ ctx, input: { userId } }) => {
    const deps = await depsFor(ctx.deps, userId)
    const revoked = await disableUser(deps, userId, ctx.by)
    return { success: true as const, ...(await effectOf(deps, userId, revoked)) }
  })

const enable = adminActProcedure
  .input(z.strictObject({ userId: subject }))
  .mutation(async ({ ctx, input: { userId } }) => {
    const deps = await depsFor(ctx.deps, userId)
    await enableUser(deps, userId, ctx.by)
    return { success: true as const, ...(await effectOf(deps, userId, 0)) }
  })

const revokeSessions = adminActProcedure
  .input(z.strictObject({ userId: subject, reason }))
  .mutation(async ({ ctx, input: { userId, reason: why } }) => {
    const { deps } = ctx
    await mustKnow(deps, userId)
    const act = { ...ctx.by, reason: why }
    return effectOf(deps, userId, await revokeUserSessions(deps, userId, act))
  })

export const adminUsersRouter = appRouterOf({
  list,
  create,
  setRole,
  disable,
  enable,
  revokeSessions,
})

/**
 * What an act did to the sessions of its user: how many it ended, and how many go on. Null if these could not be
 * counted: the act is committed, so its answer is a success.
 */
async function effectOf({ database }: ServiceDeps, userId: string, revoked: number) {
  const id = ledgerIdOf(userId)
  const counts = await countSessionsOf(database.questions, [id]).catch(() => null)
  return { revoked, activeSessions: counts === null ? null : (counts.get(id) ?? 0) }
}

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
  if ((await findUser(users, userId)) === undefined)
    throw new AuthError('not_found', 'no such user')
}
