import { AccessTokenError } from './failure.ts'

/**
 * The token of an `Authorization: Bearer …` header. Tokens are read only from there, never from the query, a
 * cookie or a form (RFC 6750 §5.3).
 *
 * @throws AccessTokenError `access_token_missing` for no header, another scheme or an empty token.
 */
export function bearerToken(authorization: string | null | undefined): string {
  const token = /^Bearer +(\S.*)$/i.exec(authorization ?? '')?.[1]
  if (token === undefined) throw new AccessTokenError('access_token_missing', 'no bearer token')
  return token
}
