/**
 * `@token-ledger/client/trpc`: typed calls to the service, and to tRPC services of your own. The only entry that needs
 * `@trpc/client`.
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
