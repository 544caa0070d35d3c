/**
 * `@token-ledger/client/server`: the session of a visitor in an app's own server, for pages that are rendered there.
 * It needs web standards alone, and runs in Node, Deno, Bun and at the edge.
 *
 * @module
 * @example
 * const session = serverSession({ baseUrl: 'https://auth.example.com', cookie: { secret } })
 * const current = await session.from(request)
 * return session.apply(await render(current.user), current)
 */
export { serverSession } from './server-session.ts'
export type { Incoming, ServerSession, ServerSessionOptions, SignOut } from './public-types.ts'
export type { Current, CurrentSignedIn, CurrentSignedOut, CurrentUnknown } from './public-types.ts'
