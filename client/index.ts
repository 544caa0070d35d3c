/**
 * `@token-ledger/client`, for browsers, React Native and Node: signs in, keeps the session refreshed, and gives
 * requests their access token.
 *
 * @module
 * @example
 * const auth = createAuthClient()
 * auth.subscribe((session) => render(session))
 * await auth.restore()
 */
export { createAuthClient } from './auth-client.ts'
export { AuthClientError, type ClientReason, type DefinitiveReason } from './errors.ts'
export { fromGetSet, memoryStorage, type GetSet, type TokenStorage } from './storage.ts'
export type { AuthClient, LogoutResult, Reauthentication, SignIn } from './public-types.ts'
export type { User } from './auth-api.ts'
export type { AuthClientOptions, OriginOfAudience, StepUp } from './options.ts'
export type { Problem, Session, SignedIn, SignedOut, Unknown } from './session.ts'
export type { Reason } from '../server/errors.ts'
