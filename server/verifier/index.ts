/**
 * `token-ledger/verifier`: for services that accept the access tokens of a token-ledger service. Its only
 * dependency at run time is `jose`.
 *
 * @module
 */
export { createVerifier } from './verifier.ts'
export type { CreatedVerifier, Verifier, VerifierOptions } from './verifier.ts'
export { verifyAccessToken } from './verify-access-token.ts'
export type { AccessTokenClaims, ExpectedToken } from './verify-access-token.ts'
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
