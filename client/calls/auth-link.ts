import {
  httpBatchLink,
  TRPCClientError,
  type HTTPBatchLinkOptions,
  type TRPCLink,
} from '@trpc/client'
import type { AnyRouter } from '@trpc/server'
import type { AuthClient } from '../public-types.ts'
import { userIdIn } from '../session.ts'
import { endpointOf, type AnyLinkOptions, type MakeLink } from './link-options.ts'
import { linkResult } from './link-result.ts'
import { refusalOf } from './trpc-reason.ts'

/** The service refuses a request with more calls. */
const maxBatchSize = 10

/**
 * The terminating link of a tRPC client: it sends calls to `/trpc` of the service in batches, with the access
 * token of `auth`. A call that is refused because of its access token (`access_token_*`) has not run, so it is
 * repeated once with a new token, queries and mutations alike. So is one that needs a more recent authentication
 * (`step_up_required`), if the client's `onStepUp` gets it. When another user has signed in meanwhile, the refusal is
 * the result: no user's call is sent with the token of another.
 *
 * Subscriptions need `authSubscriptionLink` beside it, by tRPC's `splitLink`.
 *
 * @throws {AuthClientError} `origin_not_configured`
 * @example
 * const trpc = createTRPCClient<AppRouter>({ links: [authLink(auth)] })
 */
export const authLink: MakeLink = <Router extends AnyRouter>(
  auth: AuthClient,
  options: AnyLinkOptions = {},
): TRPCLink<Router> => {
  const { href, audience } = endpointOf(auth, options.url)
  const batchesWith = (token: string | null): TRPCLink<Router> =>
    httpBatchLink({
      url: href,
      maxItems: maxBatchSize,
      headers: token === null ? {} : { authorization: `Bearer ${token}` },
      fetch: (url: string, init: RequestInit) =>
        auth.settings.fetch(url, { ...init, redirect: 'manual', credentials: 'omit' }),
      transformer: options.transformer,
      // The cast: whether there is a transformer depends on the router, which is open here.
    } as unknown as HTTPBatchLinkOptions<Router['_def']['_config']['$types']>)

  return (runtime) => {
    // A batch may wait for seconds in a tab in the background, while another user signs in: it has one token.
    let tokenOfBatch: string | null = null
    let send = batchesWith(tokenOfBatch)(runtime)
    return ({ op, next }) =>
      linkResult((observer) => {
        let running: { unsubscribe(): void } | null = null
        let isOver = false
        const calledAt = performance.now()
        const fail = (cause: Error) => observer.error?.(TRPCClientError.from(cause))

        const run = async (token: string | null, refusedFor: string[]): Promise<void> => {
          if (isOver) return
          if (token !== tokenOfBatch) send = batchesWith(token)(runtime)
          tokenOfBatch = token
          const userId = userIdIn(auth.session)
          const isSameUser = () => userIdIn(auth.session) === userId
          running = send({ op, next }).subscribe({
            ...observer,
            error: (error) => {
              const refusal = token === null ? null : refusalOf(error)
              // Once for each reason: a renewed token may still be of an authentication that is too long ago.
              if (token === null || refusal === null || refusedFor.includes(refusal.about))
                return observer.error?.(error)
              const { about, maxAgeSeconds } = refusal
              const isDone =
                maxAgeSeconds === undefined ? true : auth.stepUp({ maxAgeSeconds, calledAt })
              Promise.resolve(isDone)
                .then((may) =>
                  may && isSameUser() ? auth.getAccessToken({ audience, rejected: token }) : null,
                )
                .then((other) =>
                  other !== null && isSameUser()
                    ? run(other, [...refusedFor, about])
                    : observer.error?.(error),
                )
                .catch(fail)
            },
          })
        }

        if (op.type === 'subscription') fail(new TypeError(noSubscriptions))
        else
          auth
            .getAccessToken({ audience })
            .then((token) => run(token, []))
            .catch(fail)
        return () => {
          isOver = true
          running?.unsubscribe()
        }
      })
  }
}

const noSubscriptions =
  'authLink sends queries and mutations: for subscriptions, add authSubscriptionLink by splitLink.'
