import { randomUUID } from 'node:crypto'
import { SignJWT } from 'jose'
import type { SigningKeys } from './signing-keys.ts'
import type { User } from './user-directory.ts'

export type AccessTokenSettings = {
  readonly issuer: string
  readonly audience: string
  readonly lifetimeMs: number
}

/**
 * Mints the access token of a session: JWS ES256 in the profile of RFC 9068 (without its mandatory
 * RS256).
 *
 * @param session.signedInAt epoch milliseconds; becomes `auth_time`
 * @returns the token and its life in seconds
 */
export async function mintAccessToken(
  keys: SigningKeys,
  settings: AccessTokenSettings,
  session: { familyId: string; user: User; signedInAt: number },
): Promise<{ accessToken: string; expiresIn: number }> {
  const { kid, privateKey } = keys.current()
  const issuedAt = Math.floor(Date.now() / 1000)
  const expiresIn = Math.floor(settings.lifetimeMs / 1000)
  const { user, familyId, signedInAt } = session
  const accessToken = await new SignJWT({
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
  })
    .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid })
    .sign(privateKey)
  return { accessToken, expiresIn }
}
