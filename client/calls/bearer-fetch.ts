import { field, type Fetch } from '../auth-api.ts'
import type { Settings } from '../options.ts'
import type { GetAccessToken } from '../public-types.ts'
import { mayRepeat, untilAborted } from '../repeated-request.ts'

/**
 * See `AuthClient.fetch`. No request is repeated with the token of another user.
 *
 * @param hasSteppedUp whether to repeat a request with this answer, because its user had to authenticate again
 */
// oxlint-disable-next-line eslint/max-params -- names of properties would be in each page
export function bearerFetch(
  settings: Settings,
  getAccessToken: GetAccessToken,
  userId: () => string | null,
  hasSteppedUp?: (response: Response, calledAt: number) => Promise<boolean>,
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
    const calledAt = performance.now()
    const before = userId()
    const token = await tokenOf()
    // The first request of a client restores its session.
    const own = before ?? userId()
    // Each try uses up the body of a copy.
    const target = () => request?.clone() ?? href
    let response = await send(token, target())
    if (token === null || !mayRepeat(init, response)) return response
    if (await refuses(response)) {
      const other = await tokenOf(token)
      if (other === null || userId() !== own) return response
      response = await send(other, target())
    }
    if (response.status !== 401 || !hasSteppedUp) return response
    const may = await untilAborted(signal, hasSteppedUp(response, calledAt))
    return may && userId() === own
      ? bearerFetch(settings, getAccessToken, userId)(input, init)
      : response
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
