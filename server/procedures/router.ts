import { changePassword, events } from './account.ts'
import { adminActionsRouter } from './admin/actions.ts'
import { adminIncidentsRouter, stats } from './admin/insight.ts'
import { adminLedgerRouter } from './admin/ledger.ts'
import { overview } from './admin/overview.ts'
import { adminSessionsRouter } from './admin/sessions.ts'
import { adminUsersRouter } from './admin/users.ts'
import { login, logout, refresh, register } from './auth.ts'
import { me } from './me.ts'
import { sessions } from './proved-sign-in.ts'
import { reauthenticate } from './reauthenticate.ts'
import { sessionsRouter } from './sessions.ts'
import { tokensRouter } from './tokens.ts'
import { appRouterOf, authRouterOf, type AuthMutation } from './trpc.ts'

const mutations = { register, login, refresh, reauthenticate, logout, sessions }

/** Served under `/auth`, by their names. */
export const authMutations: ReadonlyMap<string, AuthMutation> = new Map(Object.entries(mutations))

/** The same mutations as a router: for the types of clients and the shape of errors. */
export const authRouter = authRouterOf(mutations)

/** Served under `/trpc`. */
export const appRouter = appRouterOf({
  me,
  tokens: tokensRouter,
  sessions: sessionsRouter,
  account: appRouterOf({ changePassword, events }),
  admin: appRouterOf({
    sessions: adminSessionsRouter,
    users: adminUsersRouter,
    ledger: adminLedgerRouter,
    incidents: adminIncidentsRouter,
    actions: adminActionsRouter,
    stats,
    overview,
  }),
})

/** For `createTRPCClient<AuthRouter>` at `/auth`; used by `@token-ledger/client`. */
export type AuthRouter = typeof authRouter

/** For `createTRPCClient<AppRouter>` at `/trpc`. */
export type AppRouter = typeof appRouter

/** The path of each procedure. */
export const procedurePaths: ReadonlySet<string> = new Set([
  ...Object.keys(authRouter._def.procedures).map((name) => `/auth/${name}`),
  ...Object.keys(appRouter._def.procedures).map((name) => `/trpc/${name}`),
])
