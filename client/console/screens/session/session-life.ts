import type { inferRouterOutputs } from '@trpc/server'
import type { AppRouter } from '../../../trpc.ts'

/** A session with its events, as `admin.sessions.get` answers. */
export type SessionLife = inferRouterOutputs<AppRouter>['admin']['sessions']['get']
export type LifeEvent = SessionLife['events'][number]
