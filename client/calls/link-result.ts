import type { TRPCLink } from '@trpc/client'
import type { AnyRouter } from '@trpc/server'

export type LinkResult<Router extends AnyRouter> = ReturnType<ReturnType<TRPCLink<Router>>>
export type LinkObserver<Router extends AnyRouter> = Parameters<LinkResult<Router>['subscribe']>[0]

/** Makes what a tRPC link returns. tRPC's own `observable` is in `@trpc/server`, which would add to a page's size. */
export function linkResult<Router extends AnyRouter>(
  subscribe: (observer: LinkObserver<Router>) => () => void,
): LinkResult<Router> {
  const self: Pick<LinkResult<Router>, 'subscribe'> = {
    subscribe: (observer) => ({ unsubscribe: subscribe(observer) }),
  }
  const pipe = (...operators: ((source: unknown) => unknown)[]) =>
    operators.reduce<unknown>((source, operator) => operator(source), self)
  return { ...self, pipe } as LinkResult<Router>
}
