import { askService, field } from '../auth-api.ts'
import { AuthClientError } from '../errors.ts'
import type { Settings } from '../options.ts'
import type { GetAccessToken } from '../public-types.ts'
import type { HeldToken } from './held-token.ts'

const maxTries = 3

/** Gets access tokens for other services. Concurrent callers share one request, and later ones its result. */
export function createTokenExchange(
  settings: Settings,
  own: { readonly getAccessToken: GetAccessToken; heldToken(): HeldToken | null },
) {
  async function exchange(held: HeldToken, audience: string): Promise<string> {
    const input = encodeURIComponent(JSON.stringify({ audience }))
    const url = `${settings.baseUrl}/trpc/tokens.exchange?input=${input}`
    const data = await askService(settings.fetch, url, {
      headers: { authorization: `Bearer ${held.value}` },
      credentials: 'omit',
      // The service forbids to store its answers. The page of a captive portal may be stored.
      cache: 'no-store',
    })
    const token = field(data, 'accessToken')
    if (typeof token !== 'string') throw new AuthClientError('unreadable_answer')
    return token
  }

  function exchanged(held: HeldToken, audience: string): Promise<string> {
    const known = held.exchanged.get(audience)
    if (known !== undefined) return known
    const made = exchange(held, audience)
    held.exchanged.set(audience, made)
    made.catch(() => held.exchanged.delete(audience))
    return made
  }

  /** As `AuthClient.getAccessToken`: a token that is refused, also by the service itself, costs a refresh. */
  return async (audience: string, rejected: string | undefined): Promise<string | null> => {
    let refused: string | undefined
    for (let tries = 1; tries <= maxTries; tries += 1) {
      const token = await own.getAccessToken({ rejected: refused })
      const held = own.heldToken()
      if (token === null || held === null) return null
      try {
        const other = await exchanged(held, audience)
        // If the client's own token was replaced or dropped meanwhile, the other one is out of date as well.
        if (held === own.heldToken() && other !== rejected) return other
      } catch (error) {
        if (tries === maxTries || !isAboutToken(error)) throw error
      }
      refused = held.value
    }
    throw new AuthClientError('superseded')
  }
}

function isAboutToken(error: unknown): boolean {
  return error instanceof AuthClientError && error.reason.startsWith('access_token_')
}
