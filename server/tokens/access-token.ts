import { randomUUID, sign } from 'node:crypto'
import type { SigningKey } from './open-keys.ts'
import type { SigningKeys } from './signing-keys.ts'
import type { User } from '../users/directory.ts'
import type { AccessTokenClaims } from '../verifier/verify-access-token.ts'

export type AccessTokenSettings = {
  readonly issuer: string
  readonly audience: string
  readonly lifetimeMs: number
}

/** `expiresIn` in seconds. */
export type AccessToken = { readonly accessToken: string; readonly expiresIn: number }

/**
 * The session an access token is for. Its `authentication` becomes `amr` and `auth_time`; without one, `signedInAt`, in
 * epoch milliseconds, becomes `auth_time`: such a session began with a password at that instant. The access
 * token expires with the session at the latest: an expired session is not revoked, so verifiers would not
 * learn of its end.
 */
export type Subject = {
  readonly familyId: string
  readonly user: User
  readonly signedInAt: number
  readonly authentication: Pick<AccessTokenClaims, 'methods' | 'authenticatedAt'> | null
  readonly refreshRemainingMs: number
}

/** Mints the access tokens of sessions. */
export type AccessTokens = {
  /** The token that was signed ahead for this very object, or a new one. */
  forSession(session: Subject): AccessToken
  /** Signs while the process would otherwise wait for the database. Never throws. */
  signAhead(session: Subject): void
  /**
   * A token for another service, from a valid one of this service: the same session and user, and not a second
   * longer. Null if less than a second is left.
   */
  forAudience(audience: string, claims: AccessTokenClaims): AccessToken | null
}

export function createAccessTokens(keys: SigningKeys, settings: AccessTokenSettings): AccessTokens {
  const { issuer, audience, lifetimeMs } = settings
  const ahead = new WeakMap<Subject, AccessToken>()

  function mint(session: Subject): AccessToken {
    const { user, familyId, signedInAt, authentication, refreshRemainingMs } = session
    const issuedAt = thisSecond(keys)
    const expiresIn = Math.max(1, Math.floor(Math.min(lifetimeMs, refreshRemainingMs) / 1000))
    const accessToken = signAccessToken(keys.current(), {
      issuer,
      audience,
      userId: user.id,
      familyId,
      issuedAt,
      expiresAt: issuedAt + expiresIn * 1000,
      authenticatedAt: authentication?.authenticatedAt ?? signedInAt,
      methods: authentication?.methods ?? [],
      role: user.role,
      email: user.email,
      emailVerified: user.emailVerified === true,
    })
    return { accessToken, expiresIn }
  }

  return {
    forSession: (session) => ahead.get(session) ?? mint(session),
    signAhead(session) {
      try {
        ahead.set(session, mint(session))
      } catch {
        // `forSession` tries again, and its caller gets the error.
      }
    },
    forAudience(other, claims) {
      // The process that issued the presented token may be ahead: a verifier refuses more than 900 s from `iat`.
      const issuedAt = Math.max(thisSecond(keys), claims.issuedAt)
      const expiresIn = (claims.expiresAt - issuedAt) / 1000
      if (expiresIn < 1) return null
      const content = { ...claims, issuer, audience: other, issuedAt }
      return { accessToken: signAccessToken(keys.current(), content), expiresIn }
    },
  }
}

/** Of the database, so that a host whose clock is wrong signs no token of the future. */
function thisSecond(keys: SigningKeys): number {
  return Math.floor(keys.now() / 1000) * 1000
}

type Content = Omit<AccessTokenClaims, 'clientId' | 'tokenId'> & {
  readonly issuer: string
  readonly audience: string
}

/** JWS ES256 in the profile of RFC 9068 (without its mandatory RS256). */
function signAccessToken(key: SigningKey, content: Content): string {
  const claims = {
    iss: content.issuer,
    aud: content.audience,
    sub: content.userId,
    sid: content.familyId,
    client_id: 'first-party',
    jti: randomUUID(),
    iat: content.issuedAt / 1000,
    exp: content.expiresAt / 1000,
    auth_time: Math.floor(content.authenticatedAt / 1000),
    ...(content.methods.length > 0 && { amr: content.methods }),
    role: content.role,
    email: content.email,
    email_verified: content.emailVerified,
  }
  return signES256(claims, key)
}

/**
 * A JWS in compact form (RFC 7515 §3.1), signed synchronously: `jose` signs in another thread and waits
 * for it, which costs twice the processor time.
 */
function signES256(claims: object, key: SigningKey): string {
  const payload = Buffer.from(JSON.stringify(claims)).toString('base64url')
  const input = `${key.jwsHeader}.${payload}`
  return `${input}.${joseSignature(sign('sha256', Buffer.from(input), key.privateKey)).toString('base64url')}`
}

/** Bytes of `r` and of `s` for P-256. */
const numberSize = 32

/**
 * Converts OpenSSL's signature, a SEQUENCE of two INTEGERs (RFC 3279 §2.2.3), to r ‖ s (RFC 7518 §3.4).
 * `sign` has an option for this (`dsaEncoding`), but takes twice as long with it on Node 24.
 */
export function joseSignature(der: Buffer): Buffer {
  const signature = Buffer.alloc(2 * numberSize)
  let at = 2
  for (const end of [numberSize, 2 * numberSize]) {
    const length = der.readUInt8(at + 1)
    // INTEGERs are signed: a leading zero protects a high bit, and small numbers have fewer bytes.
    const number = der.subarray(at + 2, at + 2 + length).subarray(-numberSize)
    number.copy(signature, end - number.length)
    at += 2 + length
  }
  return signature
}
