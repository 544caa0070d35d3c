import type { JWTVerifyGetKey } from 'jose'
import {
  type AccessTokenClaims,
  type ExpectedToken,
  verifyAccessToken,
} from './verify-access-token.ts'
import { bearerToken } from './bearer.ts'
import { remoteKeys } from './remote-keys.ts'
import { followRevocations, type RevocationsOptions } from './revocations/follow.ts'

export type Verifier = {
  /**
   * @throws AccessTokenError when the token is missing, invalid or expired, or its session is known to be over.
   * @throws KeysUnavailableError when the keys could not be fetched: try again, sign nobody out.
   * @throws RevocationsUnavailableError when `revocations` are followed and cannot be at the moment: the same.
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
  /**
   * Follows the ends of sessions from now on, until `close`: a token of one that was ended is refused within
   * seconds. Without this the verifier keeps nothing, and believes a token until it expires.
   */
  readonly revocations?: RevocationsOptions | undefined
}

export type CreatedVerifier = Verifier & {
  /** Stops following revocations, if it does: an open feed keeps the process alive. */
  close(): void
}

/**
 * A verifier for the tokens of one token-ledger service. Keys are not fetched until the first token.
 *
 * @throws TypeError for an issuer that is no http(s) URL, an empty audience or an empty `revocations.token`.
 */
export function createVerifier(options: VerifierOptions): CreatedVerifier {
  const { issuer, audience, jwksUrl, revocations } = options
  if (!/^https?:\/\//.test(issuer)) throw new TypeError(`issuer is no http(s) URL: ${issuer}`)
  if (!audience) throw new TypeError('audience is empty')
  const base = issuer.replace(/\/$/, '')
  const keySource = remoteKeys(new URL(jwksUrl ?? `${base}/.well-known/jwks.json`))
  const follower =
    revocations && followRevocations(new URL(revocations.url ?? `${base}/revocations`), revocations)
  return {
    ...verifierOf(keySource, { issuer, audience }, follower?.check),
    close: () => follower?.close(),
  }
}

/**
 * A verifier over keys that are at hand, for the adapters: the service itself uses it so.
 *
 * @param checkSession what else may refuse a good token, by throwing
 */
export function verifierOf(
  keySource: JWTVerifyGetKey,
  expected: ExpectedToken,
  checkSession: (familyId: string) => Promise<void> = async () => {},
): Verifier {
  async function verify(token: string): Promise<AccessTokenClaims> {
    const claims = await verifyAccessToken(token, keySource, expected)
    await checkSession(claims.familyId)
    return claims
  }
  return {
    verify,
    // `async`, so that a missing token rejects as a bad one does.
    verifyAuthorization: async (authorization) => verify(bearerToken(authorization)),
  }
}
