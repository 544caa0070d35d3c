import { field } from '../auth-api.ts'
import type { Settings } from '../options.ts'
import type { BearerFetch, GetAccessToken } from '../public-types.ts'

/** See `AuthClient.fetch`. */
export function bearerFetch(settings: Settings, getAccessToken: GetAccessToken): BearerFetch {
  return async (url, init = {}) => {
    const { href, audience } = settings.resolve(url)
    if (init.redirect === 'follow')
      throw new TypeError('redirect: "follow" is not supported; use "error" or "manual"')
    const send = async (token: string | null) => {
      const headers = new Headers(init.headers)
      if (token !== null) headers.set('authorization', `Bearer ${token}`)
      return settings.fetch(href, { redirect: 'error', ...init, headers })
    }
    const token = await getAccessToken({ audience })
    const response = await send(token)
    // A stream can be sent only once.
    if (token === null || init.body instanceof ReadableStream || !(await refuses(response)))
      return response
    const other = await getAccessToken({ audience, rejected: token })
    return other === null ? response : send(other)
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
  return String(field(field(field(body, 'error'), 'data'), 'reason')).startsWith('access_token_')
}
