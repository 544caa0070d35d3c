import { field, type Fetch } from '../auth-api.ts'
import type { Settings } from '../options.ts'
import type { GetAccessToken } from '../public-types.ts'
import { mayRepeat, untilAborted } from '../repeated-request.ts'

/** See `AuthClient.fetch`. No request is repeated with the token of another user. */
export function bearerFetch(
  settings: Settings,
  { getAccessToken, userId }: { getAccessToken: GetAccessToken; userId: () => string | null },
): Fetch {
  return async (input, init = {}) => {
    // Not `instanceof`: a test environment may have a `Request` of its own.
    const request = typeof input === 'object' && 'url' in input ? input : null
    const { href, audience } = settings.resolve(request?.url ?? (input as string | URL))
    const signal = init.signal ?? request?.signal
    const tokenOf = (rejected?: string) =>
      untilAborted(signal, getAccessToken({ audience, rejected }))
    const send = (token: string | null, target: string | Request) => {
      const headers = new Headers(init.headers ?? request?.headers)
      if (token !== null) headers.set('authorization', `Bearer ${token}`)
      return settings.fetch(target, { ...init, headers })
    }
    const token = await tokenOf()
    const own = userId()
    // The first try uses up the body of a copy.
    const response = await send(token, request?.clone() ?? href)
    if (token === null || !mayRepeat(init, response) || !(await refuses(response))) return response
    const other = await tokenOf(token)
    return other === null || userId() !== own ? response : send(other, request ?? href)
  }
}

/** Whether the access token was refused, so that the request has not been carried out. */
async function refuses(response: Response): Promise<boolean> {
  if (response.status !== 401) return false
  if (response.headers.get('www-authenticate')?.includes('invalid_token')) return true
  // Without this header in `Access-Control-Expose-Headers`, a page cannot read it: look into the body.
  const body: unknown = await response
    .clone()
    .json()
    .catch(() => null)
  return String(field(body, 'error', 'data', 'reason')).startsWith('access_token_')
}
