import { randomUUID, sign } from 'node:crypto'
import type { SigningKey } from './open-keys.ts'
import type { SigningKeys } from './signing-keys.ts'
import type { User } from '../users/directory.ts'

export type AccessTokenSettings = {
  readonly issuer: string
  readonly audience: string
  readonly lifetimeMs: number
}

/** `expiresIn` in seconds. */
export type AccessToken = { readonly accessToken: string; readonly expiresIn: number }

/**
 * The session an access token is for. `signedInAt`, in epoch milliseconds, becomes `auth_time`. The access
 * token expires with the session at the latest: an expired session is not revoked, so verifiers would not
 * learn of its end.
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
