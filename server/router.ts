import { changePassword } from './procedures/account.ts'
import { adminIncidentsRouter, stats } from './procedures/admin/insight.ts'
import { adminLedgerRouter } from './procedures/admin/ledger.ts'
import { adminSessionsRouter } from './procedures/admin/sessions.ts'
import { adminUsersRouter } from './procedures/admin/users.ts'
import { login, logout, refresh, register } from './procedures/auth.ts'
import { me } from './procedures/me.ts'
import { sessionsRouter } from './procedures/sessions.ts'
import { appRouterOf, authRouterOf, type AuthMutation } from './trpc.ts'

/** Served under `/auth`, by their names. */
export const authMutations: ReadonlyMap<string, AuthMutation> = new Map(
  Object.entries({ register, login, refresh, logout }),
)

/** The same, for the types of clients and the shape of errors. */
export const authRouter = authRouterOf({
  register: register.procedure,
  login: login.procedure,
  refresh: refresh.procedure,
  logout: logout.procedure,
})

/** Served under `/trpc`. */
export const appRouter = appRouterOf({
  me,
  sessions: sessionsRouter,
  account: appRouterOf({ changePassword }),
  admin: appRouterOf({
    sessions: adminSessionsRouter,
    users: adminUsersRouter,
    ledger: adminLedgerRouter,
    incidents: adminIncidentsRouter,
    stats,
  }),
})

/** For `createTRPCClient<AuthRouter>` at `/auth`; `token-ledger/client` uses it for you. */
export type AuthRouter = typeof authRouter

/** For `createTRPCClient<AppRouter>` at `/trpc`. */
export type AppRouter = typeof appRouter
