import { errors, jwtVerify } from 'jose'
import type { JWTHeaderParameters, JWTPayload, JWTVerifyGetKey } from 'jose'
import { clockToleranceSeconds, maxAccessTokenSeconds } from './access-token-life.ts'
import { AccessTokenError, KeysUnavailableError } from './failure.ts'

/** The claims of an access token, frozen. Instants are epoch milliseconds. */
export type AccessTokenClaims = {
  /** `sub` */
  readonly userId: string
  /** `sid`: the session. It is listed and ended under this id. */
  readonly familyId: string
  /** The role when the token was signed, at most 15 minutes ago. */
  readonly role: 'user' | 'admin'
  /** Identify users by `userId`, never by this: unless `emailVerified`, anyone may have registered with it. */
  readonly email: string
  /** `email_verified`; false in a token of a service that is too old to say. */
  readonly emailVerified: boolean
  /** `client_id` */
  readonly clientId: string
  /** `jti`. Identify a token by this, never by its text: ECDSA allows two signatures for one token. */
  readonly tokenId: string
  readonly issuedAt: number
  readonly expiresAt: number
  /** `auth_time`: when the user last proved who they are, at sign-in or later. */
  readonly authenticatedAt: number
  /** `amr`: how they did, in the words of RFC 8176, such as `pwd`. Empty where the service does not know. */
  readonly methods: readonly string[]
}

export type ExpectedToken = {
  /** `iss`, compared exactly, including a trailing slash. */
  readonly issuer: string
  /** `aud`, compared exactly. A list of audiences is refused, because the service never issues one. */
  readonly audience: string
}

/** The service judges its tokens by the clock that it signs them by. Another verifier has its own clock. */
export type Judgement = ExpectedToken & {
  /** Epoch milliseconds. */
  readonly now?: () => number
}

/** The key that a token was verified with, and the header that finds it. One object for all tokens of the key. */
export type Signer = { readonly key: object; readonly header: JWTHeaderParameters }

export type VerifiedToken = { readonly claims: AccessTokenClaims; readonly signer: Signer }

/** Issued tokens have about 700 characters. The limit is checked before any parsing (ASVS 4.2.5). */
export const maxTokenLength = 4096

/**
 * Three base64url parts. The last one is a signature of 64 bytes: 86 characters, and the four unused bits of the
 * last character must be zero. A token therefore has one spelling, except that (r, n−s) is as valid an ECDSA
 * signature as (r, s). That is harmless, because sessions are ended by `sid`.
 */
const compactEs256 = /^[\w-]+\.[\w-]+\.[\w-]{85}[AQgw]$/

/**
 * Checks one access token: the algorithm ES256 and no other, `typ: at+jwt`, a `kid` that `keySource` knows,
 * every claim, an age and a lifetime of 900 s at most, with 30 s of clock tolerance. Headers about keys (`jwk`,
 * `jku`, `x5u`, `x5c`) are ignored.
 *
 * @throws AccessTokenError if the token is missing, invalid or expired.
 * @throws KeysUnavailableError if `keySource` failed for another reason than an unknown `kid`.
 * @see RFC 9068 §4, RFC 8725 §3
 */
export async function verifyAccessToken(
  token: string,
  keySource: JWTVerifyGetKey,
  expected: Judgement,
): Promise<AccessTokenClaims> {
  return (await checkAccessToken(token, keySource, expected)).claims
}

/** As `verifyAccessToken`, and says which key signed the token. */
export async function checkAccessToken(
  token: string,
  keySource: JWTVerifyGetKey,
  expected: Judgement,
): Promise<VerifiedToken> {
  if (!token) throw new AccessTokenError('access_token_missing', 'no token')
  if (token.length > maxTokenLength) throw invalid(`${token.length} characters`)
  if (!compactEs256.test(token)) throw invalid('not a compact JWS with an ES256 signature')

  let signer: Signer | undefined
  const getKey: JWTVerifyGetKey = async (header, jws) => {
    const key = await keyFor(keySource, header, jws)
    signer = signerOf(key, header.kid)
    return key
  }
  try {
    const { payload } = await jwtVerify(token, getKey, {
      algorithms: ['ES256'],
      typ: 'at+jwt',
      issuer: expected.issuer,
      audience: expected.audience,
      maxTokenAge: maxAccessTokenSeconds,
      clockTolerance: clockToleranceSeconds,
      ...(expected.now && { currentDate: new Date(expected.now()) }),
    })
    if (signer === undefined) throw new Error('a signature was verified without a key')
    return { claims: Object.freeze(claimsOf(payload, expected)), signer }
  } catch (error) {
    throw refusalFor(error)
  }
}

async function keyFor(
  keySource: JWTVerifyGetKey,
  ...[header, jws]: Parameters<JWTVerifyGetKey>
): Promise<Awaited<ReturnType<JWTVerifyGetKey>>> {
  // Without a `kid`, `jose` would use the only key of a set that has one key.
  if (typeof header.kid !== 'string' || header.kid === '') throw invalid('no kid')
  try {
    return await keySource(header, jws)
  } catch (error) {
    if (error instanceof errors.JWKSNoMatchingKey) throw error
    throw new KeysUnavailableError(error)
  }
}

const signers = new WeakMap<object, Signer>()

function signerOf(key: object, kid: string | undefined): Signer {
  const known = signers.get(key)
  if (known !== undefined) return known
  // Nothing else of the token's header, which its sender wrote.
  const signer = { key, header: { alg: 'ES256', ...(kid !== undefined && { kid }) } }
  signers.set(key, signer)
  return signer
}

function refusalFor(error: unknown): unknown {
  if (error instanceof errors.JWTExpired) {
    return new AccessTokenError('access_token_expired', error.message)
  }
  return error instanceof errors.JOSEError ? invalid(`${error.code}: ${error.message}`) : error
}

/** Reads and thereby requires each claim: `jose` accepts a token without `exp`. */
function claimsOf(payload: JWTPayload, expected: ExpectedToken): AccessTokenClaims {
  // `jose` has checked these, but it accepts a list that contains the audience, and skips an undefined option.
  if (payload.iss !== expected.issuer || payload.aud !== expected.audience) {
    throw invalid('iss or aud is not exactly the expected one')
  }
  const issuedAt = instantOf(payload, 'iat')
  const expiresAt = instantOf(payload, 'exp')
  // Checking the age alone would accept a token with a lifetime of a day for its first 15 minutes.
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
    emailVerified: isEmailVerified(payload),
    clientId: textOf(payload, 'client_id'),
    tokenId: textOf(payload, 'jti'),
    issuedAt,
    expiresAt,
    authenticatedAt: instantOf(payload, 'auth_time'),
    methods: methodsOf(payload),
  }
}

function textOf(payload: JWTPayload, claim: string): string {
  const value = payload[claim]
  if (typeof value !== 'string' || value === '') throw invalid(`${claim} is not a non-empty string`)
  return value
}

function isEmailVerified({ email_verified: value = false }: JWTPayload): boolean {
  if (typeof value !== 'boolean') throw invalid('email_verified is not a boolean')
  return value
}

function methodsOf({ amr = [] }: JWTPayload): readonly string[] {
  if (!Array.isArray(amr) || !amr.every((method) => typeof method === 'string' && method !== ''))
    throw invalid('amr is not a list of non-empty strings')
  return Object.freeze(amr as string[])
}

/** A NumericDate (RFC 7519 §2) as epoch milliseconds. The service issues whole seconds only. */
function instantOf(payload: JWTPayload, claim: string): number {
  const value = payload[claim]
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
    throw invalid(`${claim} is not a whole number of seconds`)
  }
  return value * 1000
}

function invalid(detail: string): AccessTokenError {
  return new AccessTokenError('access_token_invalid', detail)
}
