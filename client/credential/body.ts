import type { AuthApi, Grant } from '../auth-api.ts'
import { askRefresh, type Credential } from './credential.ts'
import { endOther, type Server } from './end-other.ts'
import { AuthClientError, isDefinitive, isPermanent } from '../errors.ts'
import { memoryStorage, type TokenStorage } from '../storage.ts'
import { freshOf, grantIn, parse } from './stored-token.ts'
import { openTokenStore, storeChanged } from './token-store.ts'

/** How often another process may sign in or refresh during one refresh. */
const maxAttempts = 5

/** For native apps and tools: the refresh token is kept in the caller's storage and sent in request bodies. */
export function bodyCredential(
  post: AuthApi,
  storage: TokenStorage = memoryStorage(),
  server: Server,
): Credential {
  const store = openTokenStore(storage)
  const { keepAccessToken } = storage
  /** The access token that this process had last. */
  let had = ''

  async function accept(grant: Grant): Promise<Grant> {
    had = grant.accessToken
    await store.update(() => freshOf(grant, keepAccessToken))
    return grant
  }

  async function login(
    input: { email: string; password: string; deviceName?: string },
    signal: AbortSignal,
  ): Promise<Grant> {
    return accept(await post('login', { ...input, transport: 'body' }, signal))
  }

  return {
    login,
    async register({ email, password }, signal) {
      // `register` starts a session with a cookie, which this client cannot keep: sign in, and end that one.
      const { familyId } = await post('register', { email, password }, signal)
      const grant = await login({ email, password }, signal)
      await endOther(server, grant, familyId).catch(() => {})
      return grant
    },

    async refresh(signal, ask) {
      // Another process, or this tool when it ran last, may have refreshed already.
      const mayBeKept = keepAccessToken === true && ask === undefined
      const kept = mayBeKept ? grantIn(parse(await store.load())) : null
      if (kept !== null && kept.accessToken !== had) {
        had = kept.accessToken
        return kept
      }
      for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
        const begun = await store.beginAttempt(signal)
        const { refreshToken, attemptId } = begun
        try {
          const grant = await (ask ?? askRefresh)(post, { refreshToken, attemptId }, signal)
          had = grant.accessToken
          const stored = await store.endRequest(begun, freshOf(grant, keepAccessToken))
          // Another process has signed out, or completed the attempt, or signed in again.
          if (stored === null) throw new AuthClientError('refresh_token_missing')
          if (stored.refreshToken === grant.refreshToken) return grant
        } catch (error) {
          if (!isDefinitive(error)) {
            await store.endRequest(begun).catch(() => {})
            throw error
          }
          // Another process may have refreshed first: then its token is stored, and must stay.
          if ((await store.endRequest(begun, null)) === null) throw error
        }
      }
      throw storeChanged()
    },

    async noteSignOut(everywhere) {
      await store.update(
        (stored) => stored && { ...stored, signOut: everywhere ? 'everywhere' : 'here' },
      )
    },
    isSigningOut: async () => parse(await store.load()).signOut !== null,
    async signOut() {
      const text = await store.load()
      const { refreshToken, signOut } = parse(text)
      if (text === null || signOut === null) return 0
      try {
        const input = { refreshToken, everywhere: signOut === 'everywhere' }
        const { revoked } = await post('logout', input)
        await store.swap(text, null)
        return revoked
      } catch (error) {
        if (error instanceof AuthClientError && isPermanent(error)) await store.swap(text, null)
        throw error
      }
    },
  }
}
