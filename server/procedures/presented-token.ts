import { AuthError, invalid } from '../errors.ts'
import type { Transport } from '../ledger/events.ts'
import { parseRefreshToken, type RefreshToken } from '../tokens/refresh-token.ts'
import type { AuthContext } from './context.ts'

/** What a request presents as its refresh token. */
export type Presented = {
  readonly transport: Transport
  /** Whether anything was sent in the place of a token. */
  readonly isAny: boolean
  /** Those that this service issued, one for each session. Without any, the values were not tokens of it. */
  readonly tokens: readonly RefreshToken[]
}

/**
 * There may be several cookies: another host of the site can set one with the same name, and their order does not show
 * which one this service set (RFC 6265 §4.2.2). Only those with an authentic MAC count.
 *
 * @throws {AuthError} `validation_failed` for a token in both places: one credential per request (RFC 6750 §2)
 */
export function presentedTokens(
  { cookie, deps }: AuthContext,
  bodyToken: string | undefined,
): Presented {
  const { values } = cookie
  if (bodyToken !== undefined && values.length > 0)
    throw invalid('refreshToken: The cookie already carries a refresh token.')
  const sent = bodyToken === undefined ? values : [bodyToken]
  const newest = new Map<string, RefreshToken>()
  for (const value of sent) {
    const token = parseRefreshToken(deps.refreshKeys, value)
    if (token === null) continue
    const other = newest.get(token.familyId)
    if (other === undefined || other.generation < token.generation)
      newest.set(token.familyId, token)
  }
  return {
    transport: bodyToken === undefined ? 'cookie' : 'body',
    isAny: sent.length > 0,
    tokens: [...newest.values()],
  }
}

/**
 * The one token to refresh with.
 *
 * @param expected the session that the client holds, if it says so
 * @throws {AuthError} `refresh_token_missing`, also when only other sessions are presented than the expected one: they
 * stay, because they may be of another page. `refresh_token_malformed` when no value is a token of this service, or
 * when it is unclear which of several sessions is the client's; the cookies are then cleared.
 */
export function tokenToRefresh(
  { transport, isAny, tokens }: Presented,
  { cookie }: AuthContext,
  expected: string | undefined,
): RefreshToken {
  if (!isAny) throw new AuthError('refresh_token_missing', 'neither cookie nor body')
  const [token, ...more] =
    expected === undefined ? tokens : tokens.filter(({ familyId }) => familyId === expected)
  if (token !== undefined && more.length === 0) return token
  if (token === undefined && tokens.length > 0)
    throw new AuthError('refresh_token_missing', 'only of other sessions than the expected one')
  if (transport === 'cookie') cookie.clear()
  throw new AuthError(
    'refresh_token_malformed',
    token === undefined ? 'its MAC does not match' : `cookies of ${tokens.length} sessions`,
  )
}
