import { randomUUID, sign } from 'node:crypto'
import type { SigningKey, SigningKeys } from './signing-keys.ts'
import type { User } from '../users/directory.ts'

export type AccessTokenSettings = {
  readonly issuer: string
  readonly audience: string
  readonly lifetimeMs: number
}

/** `expiresIn` in seconds. */
export type AccessToken = { readonly accessToken: string; readonly expiresIn: number }

/**
 * `signedInAt` in epoch milliseconds; becomes `auth_time`. Its access token does not outlive what remains
 * of the session: one that has expired is not revoked, and nobody would be told.
 */
export type Subject = {
  readonly familyId: string
  readonly user: User
  readonly signedInAt: number
  readonly refreshRemainingMs: number
}

/** Mints the access tokens of sessions. */
export type AccessTokens = {
  /** The token that was signed ahead for this very object, or a new one. */
  forSession(session: Subject): AccessToken
  /** Signs while the process would otherwise wait for the database. Never throws. */
  signAhead(session: Subject): void
}

export function createAccessTokens(keys: SigningKeys, settings: AccessTokenSettings): AccessTokens {
  const ahead = new WeakMap<Subject, AccessToken>()
  return {
    forSession: (session) => ahead.get(session) ?? mintAccessToken(keys, settings, session),
    signAhead(session) {
      try {
        ahead.set(session, mintAccessToken(keys, settings, session))
      } catch {
        // `forSession` tries again, and its caller gets the error.
      }
    },
  }
}

/** JWS ES256 in the profile of RFC 9068 (without its mandatory RS256). */
export function mintAccessToken(
  keys: SigningKeys,
  settings: AccessTokenSettings,
  { user, familyId, signedInAt, refreshRemainingMs }: Subject,
): AccessToken {
  const key = keys.current()
  const issuedAt = Math.floor(Date.now() / 1000)
  const lifetimeMs = Math.min(settings.lifetimeMs, refreshRemainingMs)
  const expiresIn = Math.max(1, Math.floor(lifetimeMs / 1000))
  const claims = {
    iss: settings.issuer,
    aud: settings.audience,
    sub: user.id,
    sid: familyId,
    client_id: 'first-party',
    jti: randomUUID(),
    iat: issuedAt,
    exp: issuedAt + expiresIn,
    auth_time: Math.floor(signedInAt / 1000),
    role: user.role,
    email: user.email,
  }
  return { accessToken: signES256(claims, key), expiresIn }
}

/**
 * A JWS in compact form (RFC 7515 §3.1), signed at once: `jose` hands each signature to another
 * thread and waits for it, which costs twice the processor time of making it.
 */
function signES256(claims: object, key: SigningKey): string {
  const payload = Buffer.from(JSON.stringify(claims)).toString('base64url')
  const input = `${key.jwsHeader}.${payload}`
  return `${input}.${joseSignature(sign('sha256', Buffer.from(input), key.privateKey)).toString('base64url')}`
}

/** Bytes of a number of P-256. */
const numberSize = 32

/**
 * r ‖ s, as RFC 7518 §3.4 wants it, of what OpenSSL gives: a SEQUENCE of two INTEGERs (RFC 3279 §2.2.3).
 * `sign` can do it, too (`dsaEncoding`), and then takes twice as long on Node 24.
 */
export function joseSignature(der: Buffer): Buffer {
  const signature = Buffer.alloc(2 * numberSize)
  let at = 2
  for (const end of [numberSize, 2 * numberSize]) {
    const length = der.readUInt8(at + 1)
    // Signed: a zero in front keeps a high bit from being a sign, and small numbers are short.
    const number = der.subarray(at + 2, at + 2 + length).subarray(-numberSize)
    number.copy(signature, end - number.length)
    at += 2 + length
  }
  return signature
}
