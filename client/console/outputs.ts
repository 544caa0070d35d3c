import type { inferRouterOutputs } from '@trpc/server'
import type { AppRouter } from '../trpc.ts'

/** What the service's procedures answer. */
export type Outputs = inferRouterOutputs<AppRouter>
