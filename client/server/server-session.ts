import { askService, type Grant } from '../auth-api.ts'
import { bodyCredential } from '../credential/body.ts'
import { AuthClientError, isDefinitive, toAuthClientError } from '../errors.ts'
import { memoryStorage } from '../storage.ts'
import { createHandler } from './handler.ts'
import { serviceFor } from './person.ts'
import type {
  CurrentSignedIn,
  Incoming,
  ServerSession,
  ServerSessionOptions,
} from './public-types.ts'
import { createRenewal } from './renewal.ts'
import { heldOf, isDue, sessionCookie, type Held } from './session-cookie.ts'

const noUser = { user: null, accessToken: null } as const

/**
 * Keeps the session of each visitor in an encrypted cookie of the app: a refresh token of the `body` transport, and the
 * access token. The cookie of the service itself never reaches the app's server, so a rendering cannot spend it.
 *
 * @throws {TypeError} for a `baseUrl` with a path, a secret that is too short, and a name that browsers would refuse
 */
export function serverSession(given: ServerSessionOptions): ServerSession {
  const { origin: baseUrl, pathname } = new URL(given.baseUrl)
  if (pathname !== '/') throw new TypeError(`baseUrl: without a path, as ${baseUrl}`)
  const options = { ...given, baseUrl }
  const cookie = sessionCookie(options)
  const renewal = createRenewal(options)

  async function begin(
    request: Incoming,
    ask: (credential: ReturnType<typeof bodyCredential>) => Promise<Grant>,
  ): Promise<CurrentSignedIn> {
    const { post, fetch } = serviceFor(request, options)
    const startedAt = Date.now()
    const grant = await ask(bodyCredential(post, memoryStorage(), { baseUrl, fetch }))
    const held = heldOf(grant, startedAt)
    return { ...shown(held), ...(await cookie.write(held, request)) }
  }

  /** Whether the service refuses the access token. Without an answer it is taken for accepted. */
  async function isRefused(request: Incoming, { accessToken }: Held): Promise<boolean> {
    const { fetch } = serviceFor(request, options)
    const init = { headers: { authorization: `Bearer ${accessToken}` } }
    return askService(fetch, `${baseUrl}/trpc/me`, init).then(
      () => false,
      (error: unknown) => toAuthClientError(error).reason.startsWith('access_token_'),
    )
  }

  const session: Omit<ServerSession, 'handle'> = {
    async from(request, { readOnly = false, check = false } = {}) {
      const found = await cookie.read(request)
      // A cookie that no secret opens stays: another process may know its secret.
      const unchanged = cookie.leave(request)
      if (found === null) {
        const end = { reason: 'refresh_token_missing', incidentId: null } as const
        return { status: 'signed-out', ...end, ...noUser, ...unchanged }
      }
      const { held } = found
      const leftMs = held.accessTokenExpiresAt - Date.now()
      const lasts = leftMs > 0 && (readOnly || !isDue(held))
      if (lasts && !(check && (await isRefused(request, held))))
        return { ...shown(held), ...unchanged }
      if (readOnly) return { status: 'unknown', problem: null, ...noUser, ...unchanged }
      const next = await renewal.renew(request, found)
      if (!(next instanceof AuthClientError))
        return { ...shown(next), ...(await cookie.write(next, request)) }
      if (isDefinitive(next)) {
        const { reason, incidentId } = next
        return { status: 'signed-out', reason, incidentId, ...noUser, ...cookie.clear(request) }
      }
      if (held.accessTokenExpiresAt > Date.now()) return { ...shown(held), ...unchanged }
      return { status: 'unknown', problem: next.reason, ...noUser, ...unchanged }
    },

    signIn: (request, input) =>
      begin(request, (credential) => credential.login(input, new AbortController().signal)),
    register: (request, input) =>
      begin(request, (credential) => credential.register(input, new AbortController().signal)),

    async signOut(request, { everywhere = false } = {}) {
      const found = await cookie.read(request)
      const { setCookies } = cookie.clear(request)
      if (found === null) return { isConfirmed: true, revoked: 0, setCookies }
      const { post } = serviceFor(request, options)
      const { refreshToken, familyId } = found.held
      renewal.forget(familyId)
      return post('logout', { refreshToken, everywhere }).then(
        ({ revoked }) => ({ isConfirmed: true, revoked, setCookies }),
        () => ({ isConfirmed: false, revoked: 0, setCookies }),
      )
    },

    apply(response, { setCookies }) {
      response.headers.set('cache-control', 'private, no-store')
      for (const line of setCookies) response.headers.append('set-cookie', line)
      return response
    },
  }
  return { ...session, handle: createHandler(session) }
}

function shown(held: Held) {
  const { user, accessToken, accessTokenExpiresAt, familyId, refreshExpiresAt } = held
  const token = { accessToken, accessTokenExpiresAt, familyId, refreshExpiresAt }
  return { status: 'signed-in', user, ...token } as const
}
