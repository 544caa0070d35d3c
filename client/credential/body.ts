import type { AuthApi, Fetch, Grant } from '../auth-api.ts'
import type { Credential } from './credential.ts'
import { AuthClientError, isDefinitive, isPermanent } from '../errors.ts'
import type { TokenStorage } from '../storage.ts'
import { freshOf, parse } from './stored-token.ts'
import { maxAttempts, openTokenStore, storeChanged } from './token-store.ts'

/** For native apps and tools: the refresh token is kept in the caller's storage and sent in request bodies. */
export function bodyCredential(
  post: AuthApi,
  storage: TokenStorage,
  server: { baseUrl: string; fetch: Fetch },
): Credential {
  const store = openTokenStore(storage)

  async function accept(grant: Grant): Promise<Grant> {
    await store.replace(freshOf(grant))
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

    async refresh(signal) {
      for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
        const { stored, text } = await store.beginAttempt()
        const { refreshToken, attemptId } = stored
        try {
          const input = { refreshToken, ...(attemptId !== null && { attemptId }) }
          const grant = await post('refresh', input, signal)
          if (await store.swap(text, JSON.stringify(freshOf(grant)))) return grant
          // Another process has completed the attempt, or signed out, or signed in again.
          if ((await store.load()) === null) throw new AuthClientError('refresh_token_missing')
          if (parse(await store.load()).refreshToken === grant.refreshToken) return grant
        } catch (error) {
          if (!isDefinitive(error)) throw error
          // Another process may have refreshed first: then its token is stored, and must stay.
          if ((await store.swap(text, null)) || (await store.load()) === null) throw error
        }
      }
      throw storeChanged()
    },

    async noteSignOut(everywhere) {
      const text = await store.load()
      if (text === null) return
      const stored = parse(text)
      await store.replace({ ...stored, signOut: everywhere ? 'everywhere' : 'here' })
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

/** Ends another session of the user, with the new session's access token. */
async function endOther(
  server: { baseUrl: string; fetch: Fetch },
  grant: Grant,
  familyId: string,
): Promise<void> {
  await server.fetch(`${server.baseUrl}/trpc/sessions.revoke`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      authorization: `Bearer ${grant.accessToken}`,
    },
    body: JSON.stringify({ familyId }),
    credentials: 'omit',
    redirect: 'error',
  })
}
