/**
 * `token-ledger`: the service as a Fastify app, or as a plugin of one.
 *
 * @module
 */
export { buildApp, tokenLedger } from './app.ts'
export type { AppOptions } from './wiring.ts'
export { loadConfig, type Config } from './config/config.ts'
export { connect, type Database } from '../db/connection/connect.ts'
export { rolesOf, type Roles } from '../db/roles.ts'
export type { ProvedAgain, ReauthenticateBy, RefusedProof } from './http/reauthenticated.ts'
export type { ProvedSignIn, StartSession } from './http/start-session.ts'
export type { AppRouter, AuthRouter } from './procedures/router.ts'
export type { FindBreachedPasswords } from './users/breached-passwords.ts'
export type { AccountStore, Role, User, UserDirectory } from './users/directory.ts'
