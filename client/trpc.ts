/**
 * `token-ledger/client/trpc`: links that give the calls and subscriptions of a tRPC client their access token.
 *
 * @module
 * @example
 * const trpc = createTRPCClient<AppRouter>({ links: [authLink(auth)] })
 */
export { authLink } from './calls/auth-link.ts'
export { authSubscriptionLink } from './calls/auth-subscription-link.ts'
export { reasonOf } from './calls/trpc-reason.ts'
export type { LinkOptions, MakeLink, PlainRouter } from './calls/link-options.ts'
export type { AppRouter, AuthRouter } from '../server/procedures/router.ts'
