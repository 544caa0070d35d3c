import { QueryClient } from '@tanstack/react-query'
import { createTRPCClient, splitLink, type TRPCLink } from '@trpc/client'
import { observable } from '@trpc/server/observable'
import { createAuthClient } from '../index.ts'
import { connectQueryClient } from '../react/index.ts'
import { authLink, authSubscriptionLink, type AppRouter } from '../trpc.ts'
import { forgetLostRole, noteLostRole } from './access.ts'
import { mayRetry, reasonOf, retryDelayMs } from './problems.ts'
import { askForPasswordAgain, closeQuestion } from './step-up.ts'

/** The session of this page. */
export const auth = createAuthClient({ onStepUp: askForPasswordAgain })

/** Notices at every call that the caller is no admin any more. */
const noticing: TRPCLink<AppRouter> =
  () =>
  ({ op, next }) =>
    observable((observer) =>
      next(op).subscribe({
        next: (value) => observer.next(value),
        error(error) {
          noticeLostRole(error)
          observer.error(error)
        },
        complete: () => observer.complete(),
      }),
    )

/** The service's procedures, with their types. */
export const trpc = createTRPCClient<AppRouter>({
  links: [
    noticing,
    splitLink({
      condition: (op) => op.type === 'subscription',
      true: authSubscriptionLink(auth),
      false: authLink(auth),
    }),
  ],
})

/**
 * The answers that are on the screen. Keys begin with the path of the procedure as a list:
 * `['admin', 'sessions', 'list', input]`. What begins with `admin` is dropped when the caller is no admin any more.
 */
export const queryClient: QueryClient = new QueryClient({
  defaultOptions: {
    queries: {
      retry: mayRetry,
      retryDelay: retryDelayMs,
      // A screen that is opened twice in a moment does not ask twice.
      staleTime: 5_000,
      // An answer that is on no screen is forgotten after a minute.
      gcTime: 60_000,
    },
  },
})

connectQueryClient(auth, queryClient)
auth.onUserChange(forgetLostRole)
auth.onUserChange(closeQuestion)

/**
 * An admin who was demoted: what only admins may see goes at once, and a refresh brings the role of now. Each
 * call of `trpc` does so by itself.
 */
export function noticeLostRole(error: Error): void {
  if (reasonOf(error) !== 'role_required') return
  noteLostRole(auth)
  queryClient.removeQueries({ queryKey: ['admin'] })
  auth.refresh().catch(() => {})
}
