/**
 * `@token-ledger/verifier`: for services that accept the access tokens of a token-ledger service. Its only
 * dependency is `jose`. The adapters for frameworks are entries of their own.
 *
 * @module
 */
export { createVerifier } from './verifier.ts'
export type { CachingVerifier, CreatedVerifier, Verifier, VerifierOptions } from './verifier.ts'
export type { CacheStats } from './verified-tokens.ts'
export { failureResponse, verifyRequest } from './request.ts'
export type { Requirements } from './auth-age.ts'
export { verifyAccessToken } from './verify-access-token.ts'
export type { AccessTokenClaims, ExpectedToken } from './verify-access-token.ts'
export {
  AccessTokenError,
  failureOf,
  KeysUnavailableError,
  RevocationsUnavailableError,
  StepUpRequiredError,
} from './failure.ts'
export type { AccessTokenReason, Failure } from './failure.ts'
export type { RevocationsOptions } from './revocations/follow.ts'
