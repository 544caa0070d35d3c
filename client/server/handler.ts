import { field } from '../auth-api.ts'
import { AuthClientError, toAuthClientError } from '../errors.ts'
import type { CurrentSignedIn, ServerSession } from './public-types.ts'

/** As the service's own limit. */
const maxBodyBytes = 16 * 1024

/** Answers the calls of `createAuthClient` in the service's envelope (docs/reference/http.md). */
export function createHandler(session: Omit<ServerSession, 'handle'>) {
  async function answer(request: Request): Promise<Response> {
    if (request.method !== 'POST') throw new AuthClientError('not_found')
    checkOrigin(request)
    const input = await inputOf(request)
    const procedure = new URL(request.url).pathname.split('/').at(-1)
    switch (procedure) {
      case 'login':
        return granted(await session.signIn(request, credentialsIn(input)))
      case 'register':
        return granted(await session.register(request, credentialsIn(input)))
      case 'refresh': {
        // A page asks when it is loaded and when a service refused its token: both want to know whether it is over.
        const current = await session.from(request, { check: true })
        if (current.status === 'unknown') throw new AuthClientError(current.problem ?? 'timeout')
        if (current.status === 'signed-out') {
          const { reason } = current
          const incidentId = current.incidentId ?? undefined
          return session.apply(refused(new AuthClientError(reason, { incidentId })), current)
        }
        const expected = field(input, 'familyId')
        if (expected !== undefined && expected !== current.familyId)
          throw new AuthClientError('refresh_token_missing')
        return granted(current)
      }
      case 'logout': {
        const everywhere = field(input, 'everywhere') === true
        const { isConfirmed, revoked, setCookies } = await session.signOut(request, { everywhere })
        // The cookie stays, and the client asks again.
        if (!isConfirmed) throw new AuthClientError('service_unavailable')
        return session.apply(json(200, { result: { data: { success: true, revoked } } }), {
          setCookies,
        })
      }
      default:
        throw new AuthClientError('not_found')
    }
  }

  function granted(current: CurrentSignedIn): Response {
    const { user, accessToken, accessTokenExpiresAt, familyId, refreshExpiresAt } = current
    const expiresIn = Math.max(1, Math.floor((accessTokenExpiresAt - Date.now()) / 1000))
    const data = { accessToken, tokenType: 'Bearer', expiresIn, familyId, refreshExpiresAt, user }
    return session.apply(json(200, { result: { data } }), current)
  }

  return async (request: Request): Promise<Response> => {
    try {
      return await answer(request)
    } catch (error) {
      return session.apply(refused(toAuthClientError(error)), { setCookies: [] })
    }
  }
}

/**
 * The cookie is `SameSite=Lax`, which a sibling host may send: only pages of this origin are answered. Behind a proxy
 * the URL of a request is not that of the page, so the browser's own verdict counts, and where it sends none, the host.
 */
function checkOrigin(request: Request): void {
  const site = request.headers.get('sec-fetch-site')
  const origin = request.headers.get('origin')
  const isOwn =
    site === null
      ? origin !== null &&
        URL.canParse(origin) &&
        new URL(origin).host === request.headers.get('host')
      : site === 'same-origin'
  if (!isOwn) throw new AuthClientError('origin_not_allowed')
}

async function inputOf(request: Request): Promise<unknown> {
  // A form cannot send this type to another origin.
  if (!request.headers.get('content-type')?.startsWith('application/json'))
    throw new AuthClientError('unsupported_media_type')
  const text = await request.text()
  if (text.length > maxBodyBytes) throw new AuthClientError('payload_too_large')
  try {
    return JSON.parse(text)
  } catch {
    throw new AuthClientError('validation_failed')
  }
}

function credentialsIn(input: unknown) {
  const [email, password, deviceName] = ['email', 'password', 'deviceName'].map((name) => {
    const value = field(input, name)
    return typeof value === 'string' ? value : undefined
  })
  if (email === undefined || password === undefined) throw new AuthClientError('validation_failed')
  return { email, password, ...(deviceName !== undefined && { deviceName }) }
}

function refused({ reason, message, incidentId, retryAfterSeconds }: AuthClientError): Response {
  const httpStatus = statusOf(reason)
  const data = {
    code: 'BAD_REQUEST',
    httpStatus,
    reason,
    ...(incidentId !== null && { incidentId }),
    ...(retryAfterSeconds !== null && { retryAfterSeconds }),
  }
  return json(httpStatus, { error: { message, code: -32600, data } })
}

function statusOf(reason: AuthClientError['reason']): number {
  if (/^(?:session|refresh_token)_|^invalid_credentials$/.test(reason)) return 401
  switch (reason) {
    case 'validation_failed':
      return 400
    case 'origin_not_allowed':
    case 'registration_closed':
      return 403
    case 'not_found':
      return 404
    case 'email_taken':
      return 409
    case 'payload_too_large':
      return 413
    case 'unsupported_media_type':
      return 415
    case 'too_many_attempts':
      return 429
    default:
      return 503
  }
}

function json(status: number, body: unknown): Response {
  return Response.json(body, { status })
}
