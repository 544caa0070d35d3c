import { httpSubscriptionLink, type TRPCLink } from '@trpc/client'
import type { AnyRouter } from '@trpc/server'
import type { AuthClient } from '../public-types.ts'
import { eventSourceOf, type EventSourceClass } from './event-source.ts'
import { endpointOf, type AnyLinkOptions, type MakeLink } from './link-options.ts'

/**
 * The link for a tRPC client's subscriptions, by Server-Sent Events. Each connection has a fresh access token, and
 * after an interruption the next one goes on behind the last event (`Last-Event-ID`).
 *
 * It ends with an error when the service refuses a connection for good, as after a sign-out, and when another user has
 * signed in before it connects again. It needs a `fetch` whose answers are streams, which React Native's are not.
 *
 * @throws {AuthClientError} `origin_not_configured`
 * @example
 * splitLink({
 *   condition: ({ type }) => type === 'subscription',
 *   true: authSubscriptionLink(auth),
 *   false: authLink(auth),
 * })
 */
export const authSubscriptionLink: MakeLink = <Router extends AnyRouter>(
  auth: AuthClient,
  options: AnyLinkOptions = {},
): TRPCLink<Router> => {
  const { href, audience } = endpointOf(auth, options.url)
  const linkOfOne = () =>
    httpSubscriptionLink<Router, EventSourceClass>({
      url: href,
      transformer: options.transformer,
      EventSource: eventSourceOf(auth, audience),
      // The cast: whether there is a transformer depends on the router, which is open here.
    } as unknown as Parameters<typeof httpSubscriptionLink<Router, EventSourceClass>>[0])
  return (runtime) => (subscription) => linkOfOne()(runtime)(subscription)
}
