import type { JWTVerifyGetKey } from 'jose'
import {
  type AccessTokenClaims,
  checkAccessToken,
  type ExpectedToken,
  type Judgement,
} from './verify-access-token.ts'
import { mustBeRecent, type Requirements } from './auth-age.ts'
import { bearerToken } from './bearer.ts'
import { remoteKeys } from './remote-keys.ts'
import { followRevocations, type RevocationsOptions } from './revocations/follow.ts'
import { type CacheStats, createVerifiedTokens, defaultMaxTokens } from './verified-tokens.ts'

export type Verifier = {
  /**
   * @throws AccessTokenError if the token is missing, invalid or expired, or its session is known to have ended.
   * @throws StepUpRequiredError if the user authenticated longer ago than `maxAuthAgeSeconds`, which is an
   * `AccessTokenError` too. A call's own limit counts instead of the verifier's.
   * @throws KeysUnavailableError if the keys could not be fetched: try again, do not sign the user out.
   * @throws RevocationsUnavailableError if `revocations` are followed and the feed is lost: try again as well.
   */
  verify(token: string, requirements?: Requirements): Promise<AccessTokenClaims>
  /** Like `verify`, for the value of an `Authorization` header. */
  verifyAuthorization(
    authorization: string | null | undefined,
    requirements?: Requirements,
  ): Promise<AccessTokenClaims>
}

export type VerifierOptions = ExpectedToken &
  Requirements & {
    /**
     * The URL of the keys, if it is not `<issuer>/.well-known/jwks.json`: an address inside your network, for
     * example. The server behind it decides which tokens are accepted: use https or a network you trust.
     */
    readonly jwksUrl?: string | URL | undefined
    /**
     * Follows the ends of sessions until `close`: a token of an ended session is refused within seconds.
     * Without it the verifier accepts a token until it expires.
     */
    readonly revocations?: RevocationsOptions | undefined
    /**
     * How many accepted tokens are kept, so that their signatures are not checked again at each call: 20,000 unless
     * given, in about 13 MB. 0 keeps none.
     */
    readonly maxCachedTokens?: number | undefined
  }

/** A verifier that keeps the tokens it accepts. No two verifiers share them. */
export type CachingVerifier = Verifier & {
  cacheStats(): CacheStats
}

export type CreatedVerifier = CachingVerifier & {
  /** Stops following revocations. An open feed keeps the process alive. */
  close(): void
}

/**
 * Creates a verifier for the tokens of one token-ledger service. Keys are fetched with the first token.
 *
 * @throws TypeError for an issuer that is not an http(s) URL, an empty audience, an empty `revocations.token` or a
 * `maxAuthAgeSeconds` that is not a whole number.
 */
export function createVerifier(options: VerifierOptions): CreatedVerifier {
  const { issuer, audience, jwksUrl, revocations, maxCachedTokens, maxAuthAgeSeconds } = options
  if (!/^https?:\/\//.test(issuer)) throw new TypeError(`issuer is not an http(s) URL: ${issuer}`)
  if (!audience) throw new TypeError('audience is empty')
  if (
    maxAuthAgeSeconds !== undefined &&
    !(Number.isSafeInteger(maxAuthAgeSeconds) && maxAuthAgeSeconds >= 0)
  )
    throw new TypeError(`maxAuthAgeSeconds is not a whole number of seconds: ${maxAuthAgeSeconds}`)
  const base = issuer.replace(/\/$/, '')
  const keySource = remoteKeys(new URL(jwksUrl ?? `${base}/.well-known/jwks.json`))
  const follower =
    revocations && followRevocations(new URL(revocations.url ?? `${base}/revocations`), revocations)
  return {
    ...verifierOf(
      keySource,
      { issuer, audience },
      { checkSession: follower?.check, maxCachedTokens, maxAuthAgeSeconds },
    ),
    close: () => follower?.close(),
  }
}

/**
 * Creates a verifier from a source of keys. The service itself uses it with its own keys.
 *
 * @param options.checkSession called for a valid token, kept or not; throws to refuse it
 */
export function verifierOf(
  keySource: JWTVerifyGetKey,
  expected: Judgement,
  options: {
    readonly checkSession?: ((familyId: string) => Promise<void>) | undefined
    readonly maxCachedTokens?: number | undefined
  } & Requirements = {},
): CachingVerifier {
  const { checkSession, maxCachedTokens: max = defaultMaxTokens } = options
  const now = expected.now ?? Date.now
  const tokens = createVerifiedTokens({ max, keySource, now })

  async function checkInFull(token: string): Promise<AccessTokenClaims> {
    const verified = await checkAccessToken(token, keySource, expected)
    tokens.add(token, verified)
    return verified.claims
  }

  async function verify(
    token: string,
    { maxAuthAgeSeconds = options.maxAuthAgeSeconds }: Requirements = {},
  ): Promise<AccessTokenClaims> {
    const claims = (await tokens.find(token)) ?? (await checkInFull(token))
    if (checkSession !== undefined) await checkSession(claims.familyId)
    // After everything else: a session that has ended is no reason to ask for a password.
    if (maxAuthAgeSeconds !== undefined) mustBeRecent(claims, maxAuthAgeSeconds, now())
    return claims
  }

  return {
    verify,
    // `async`, so that a missing token rejects the promise, like an invalid one.
    verifyAuthorization: async (authorization, requirements) =>
      verify(bearerToken(authorization), requirements),
    cacheStats: () => tokens.stats(),
  }
}
