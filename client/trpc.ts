/**
 * `@token-ledger/client/trpc`: typed calls to the service, and to tRPC services of your own. The only entry that needs
 * `@trpc/client`.
 *
 * @module
 * @example
 * const trpc = createTRPCClient<AppRouter>({ links: [authLink(auth)] })
 * const me = await trpc.me.query()
 */
export { authLink } from './calls/auth-link.ts'
export type { AppRouter, AuthRouter } from '../server/procedures/router.ts'
