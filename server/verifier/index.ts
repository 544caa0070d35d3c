/**
 * `token-ledger/verifier`: what a service that accepts our access tokens imports. At run time it needs `jose` alone.
 *
 * @module
 */
export { createVerifier } from './verifier.ts'
export type { CreatedVerifier, Verifier, VerifierOptions } from './verifier.ts'
export { verifyAccessToken } from './access-token-check.ts'
export type { AccessTokenClaims, ExpectedToken } from './access-token-check.ts'
export {
  AccessTokenError,
  failureOf,
  KeysUnavailableError,
  RevocationsUnavailableError,
} from './failure.ts'
export type { AccessTokenReason, Failure } from './failure.ts'
export type { RevocationsOptions } from './revocations/follow.ts'
export { expressVerifier } from './adapters/express.ts'
export type { VerifiedRequest, VerifierMiddleware } from './adapters/express.ts'
export { fastifyVerifier } from './adapters/fastify.ts'
export { trpcVerifier } from './adapters/trpc.ts'
export type { AccessTokenContext, ContextOptions } from './adapters/trpc.ts'
