import type { JWTVerifyGetKey } from 'jose'
import { verifyAccessToken } from './verifier/access-token-check.ts'
import type { AccessTokenClaims, ExpectedToken } from './verifier/access-token-check.ts'
import { bearerToken } from './verifier/bearer.ts'
import { remoteKeys } from './verifier/remote-keys.ts'

// What a service that accepts our tokens imports. At run time it may need `jose` and nothing else.
export { verifyAccessToken } from './verifier/access-token-check.ts'
export type { AccessTokenClaims, ExpectedToken } from './verifier/access-token-check.ts'
export { AccessTokenError, failureOf, KeysUnavailableError } from './verifier/failure.ts'
export type { AccessTokenReason, Failure } from './verifier/failure.ts'
export { expressVerifier } from './verifier/express.ts'
export type { VerifiedRequest, VerifierMiddleware } from './verifier/express.ts'
export { fastifyVerifier } from './verifier/fastify.ts'
export { trpcVerifier } from './verifier/trpc.ts'
export type { AccessTokenContext, ContextOptions } from './verifier/trpc.ts'

export type Verifier = {
  /**
   * @throws AccessTokenError when the token is missing, invalid or expired.
   * @throws KeysUnavailableError when the keys could not be fetched: try again, sign nobody out.
   */
  verify(token: string): Promise<AccessTokenClaims>
  /** As `verify`, for the value of an `Authorization` header. */
  verifyAuthorization(authorization: string | null | undefined): Promise<AccessTokenClaims>
}

export type VerifierOptions = ExpectedToken & {
  /**
   * Where the keys are, when not at `<issuer>/.well-known/jwks.json`: an address inside your network, say.
   * Whoever can answer there can sign tokens: use https or a network you trust.
   */
  readonly jwksUrl?: string | URL | undefined
}

/**
 * A verifier for the tokens of one token-ledger service. Nothing is fetched until the first token.
 *
 * @throws TypeError for an issuer that is no http(s) URL, or an empty audience.
 */
export function createVerifier({ issuer, audience, jwksUrl }: VerifierOptions): Verifier {
  if (!/^https?:\/\//.test(issuer)) throw new TypeError(`issuer is no http(s) URL: ${issuer}`)
  if (!audience) throw new TypeError('audience is empty')
  const url = new URL(jwksUrl ?? `${issuer.replace(/\/$/, '')}/.well-known/jwks.json`)
  return verifierOf(remoteKeys(url), { issuer, audience })
}

/** A verifier over keys that are at hand, for the adapters: the service itself uses it so. */
export function verifierOf(keySource: JWTVerifyGetKey, expected: ExpectedToken): Verifier {
  const verify = (token: string) => verifyAccessToken(token, keySource, expected)
  return {
    verify,
    // `async`, so that a missing token rejects as a bad one does.
    verifyAuthorization: async (authorization) => verify(bearerToken(authorization)),
  }
}
