import { errors, jwtVerify } from 'jose'
import type { JWTPayload, JWTVerifyGetKey } from 'jose'
import { clockToleranceSeconds, maxAccessTokenSeconds } from './access-token-life.ts'
import { AccessTokenError, KeysUnavailableError } from './failure.ts'

/** Who is calling, as the access token says. Instants are epoch milliseconds. */
export type AccessTokenClaims = {
  /** `sub` */
  readonly userId: string
  /** `sid`: the session, by which it is listed and ended. */
  readonly familyId: string
  /** As it was when the token was minted, at most 15 minutes ago. */
  readonly role: 'user' | 'admin'
  readonly email: string
  /** `client_id` */
  readonly clientId: string
  /** `jti`. Name a token by this, never by its text: ECDSA allows two signatures for one token. */
  readonly tokenId: string
  readonly issuedAt: number
  readonly expiresAt: number
  /** `auth_time`: when the user last typed a password. */
  readonly authenticatedAt: number
}

export type ExpectedToken = {
  /** `iss`, to the letter: no slash may be added or missing. */
  readonly issuer: string
  /** `aud`, to the letter. A list of audiences is refused, for the service never issues one. */
  readonly audience: string
}

/** Ours are about 700 characters. The cap comes before any parsing (ASVS 4.2.5). */
const maxTokenLength = 4096

/**
 * Three base64url parts of which the last is 64 bytes: 86 characters, the last with four unused bits that
 * must be zero. So a token has one spelling, except that (r, n−s) is as good an ECDSA signature as
 * (r, s); harmless, because sessions are ended by `sid`.
 */
const compactEs256 = /^[\w-]+\.[\w-]+\.[\w-]{85}[AQgw]$/

/**
 * Checks one access token: ES256 and nothing else, `typ: at+jwt`, a `kid` that `keySource` knows, every
 * claim, at most 900 s old and of 900 s lifetime, 30 s of skew. What a header says about keys (`jwk`,
 * `jku`, `x5u`, `x5c`) is ignored.
 *
 * @throws AccessTokenError when the token is missing, invalid or expired.
 * @throws KeysUnavailableError when `keySource` failed for another reason than an unknown `kid`.
 * @see RFC 9068 §4, RFC 8725 §3
 */
export async function verifyAccessToken(
  token: string,
  keySource: JWTVerifyGetKey,
  expected: ExpectedToken,
): Promise<AccessTokenClaims> {
  if (!token) throw new AccessTokenError('access_token_missing', 'no token')
  if (token.length > maxTokenLength) throw invalid(`${token.length} characters`)
  if (!compactEs256.test(token)) throw invalid('not a compact JWS with an ES256 signature')

  const getKey: JWTVerifyGetKey = (header, jws) => keyFor(keySource, header, jws)
  try {
    const { payload } = await jwtVerify(token, getKey, {
      algorithms: ['ES256'],
      typ: 'at+jwt',
      issuer: expected.issuer,
      audience: expected.audience,
      maxTokenAge: maxAccessTokenSeconds,
      clockTolerance: clockToleranceSeconds,
    })
    return claimsOf(payload, expected)
  } catch (error) {
    throw refusalFor(error)
  }
}

async function keyFor(
  keySource: JWTVerifyGetKey,
  ...[header, jws]: Parameters<JWTVerifyGetKey>
): Promise<Awaited<ReturnType<JWTVerifyGetKey>>> {
  // Without a `kid` a key set of one key would answer with that one.
  if (typeof header.kid !== 'string' || header.kid === '') throw invalid('no kid')
  try {
    return await keySource(header, jws)
  } catch (error) {
    if (error instanceof errors.JWKSNoMatchingKey) throw error
    throw new KeysUnavailableError(error)
  }
}

function refusalFor(error: unknown): unknown {
  if (error instanceof errors.JWTExpired) {
    return new AccessTokenError('access_token_expired', error.message)
  }
  return error instanceof errors.JOSEError ? invalid(`${error.code}: ${error.message}`) : error
}

/** Each claim is required here, by being read: `jose` takes a token without `exp`. */
function claimsOf(payload: JWTPayload, expected: ExpectedToken): AccessTokenClaims {
  // Once more by hand: `jose` takes a list that holds the audience, and checks nothing against undefined.
  if (payload.iss !== expected.issuer || payload.aud !== expected.audience) {
    throw invalid('iss or aud is not exactly ours')
  }
  const issuedAt = instantOf(payload, 'iat')
  const expiresAt = instantOf(payload, 'exp')
  // The age alone would give a token minted for a day 15 minutes of it.
  if (expiresAt - issuedAt > maxAccessTokenSeconds * 1000) {
    throw invalid(`lives longer than ${maxAccessTokenSeconds} s`)
  }
  const role = textOf(payload, 'role')
  if (role !== 'user' && role !== 'admin') throw invalid('role is neither user nor admin')
  return {
    userId: textOf(payload, 'sub'),
    familyId: textOf(payload, 'sid'),
    role,
    email: textOf(payload, 'email'),
    clientId: textOf(payload, 'client_id'),
    tokenId: textOf(payload, 'jti'),
    issuedAt,
    expiresAt,
    authenticatedAt: instantOf(payload, 'auth_time'),
  }
}

function textOf(payload: JWTPayload, claim: string): string {
  const value = payload[claim]
  if (typeof value !== 'string' || value === '') throw invalid(`${claim} is not a text`)
  return value
}

/** RFC 7519 §2 NumericDate, of which we issue whole seconds only, as epoch milliseconds. */
function instantOf(payload: JWTPayload, claim: string): number {
  const value = payload[claim]
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
    throw invalid(`${claim} is not in whole seconds`)
  }
  return value * 1000
}

function invalid(detail: string): AccessTokenError {
  return new AccessTokenError('access_token_invalid', detail)
}
