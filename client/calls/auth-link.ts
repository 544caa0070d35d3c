import {
  httpBatchLink,
  TRPCClientError,
  type HTTPBatchLinkOptions,
  type Operation,
  type TRPCLink,
} from '@trpc/client'
import type { AnyRouter } from '@trpc/server'
import { field } from '../auth-api.ts'
import type { AuthClient } from '../public-types.ts'
import { linkResult } from './link-result.ts'

/** The service refuses a request with more calls. */
const maxBatchSize = 10

/**
 * The terminating link of a tRPC client: it sends calls to `/trpc` of the service in batches, with the access
 * token of `auth`. A call that is refused because of its access token (`access_token_*`) has not run, so it is
 * repeated once with a new token, queries and mutations alike.
 *
 * @param options.url The tRPC endpoint of another service, whose origin is in the client's `origins`.
 * @throws {AuthClientError} `origin_not_configured`
 * @example
 * const trpc = createTRPCClient<AppRouter>({ links: [authLink(auth)] })
 */
export function authLink<Router extends AnyRouter>(
  auth: AuthClient,
  options: { readonly url?: string } = {},
): TRPCLink<Router> {
  const { settings } = auth
  const { href, audience } = settings.resolve(options.url ?? `${settings.baseUrl}/trpc`)
  const ending: TRPCLink<Router> = httpBatchLink({
    url: href,
    maxItems: maxBatchSize,
    headers: ({ opList }: { opList: readonly Operation[] }) => bearerOf(opList.at(-1)),
    fetch: (url: string, init: RequestInit) =>
      settings.fetch(url, { ...init, redirect: 'error', credentials: 'omit' }),
    // The cast: httpBatchLink wants the router's transformer, which a generic router leaves open. There is none.
  } as unknown as HTTPBatchLinkOptions<Router['_def']['_config']['$types']>)

  return (runtime) => {
    const send = ending(runtime)
    return ({ op, next }) =>
      linkResult((observer) => {
        let running: { unsubscribe(): void } | null = null
        let isOver = false

        const run = async (token: string | null, mayRepeat: boolean): Promise<void> => {
          if (isOver) return
          const context = { ...op.context, [bearer]: token }
          running = send({ op: { ...op, context }, next }).subscribe({
            ...observer,
            error: (error) => {
              if (mayRepeat && token !== null && isAboutToken(error)) {
                auth.getAccessToken({ audience, rejected: token }).then(
                  (other) => (other === null ? observer.error?.(error) : void run(other, false)),
                  (cause: Error) => observer.error?.(TRPCClientError.from(cause)),
                )
              } else observer.error?.(error)
            },
          })
        }

        auth.getAccessToken({ audience }).then(
          (token) => run(token, true),
          (cause: Error) => observer.error?.(TRPCClientError.from(cause)),
        )
        return () => {
          isOver = true
          running?.unsubscribe()
        }
      })
  }
}

const bearer = 'token-ledger bearer'

function bearerOf(op: Operation | undefined): Record<string, string> {
  const token = op?.context[bearer]
  return typeof token === 'string' ? { authorization: `Bearer ${token}` } : {}
}

function isAboutToken(error: unknown): boolean {
  return String(field(field(error, 'data'), 'reason')).startsWith('access_token_')
}
