import type { AuthApi, Fetch, Grant } from '../auth-api.ts'
import { isPermanent } from '../errors.ts'
import type { Credential } from './credential.ts'
import { AuthClientError, isDefinitive } from '../errors.ts'
import { newAttemptId } from './tab-storage.ts'
import type { TokenStorage } from '../storage.ts'
import { freshOf, parse, type Stored } from './stored-token.ts'

/** Another process wins at most this often in a row. */
const maxRounds = 5

/** The native one: the refresh token is in the caller's store, and travels in bodies. */
export function bodyCredential(
  post: AuthApi,
  storage: TokenStorage,
  server: { baseUrl: string; fetch: Fetch },
): Credential {
  const store = guarded(storage)

  /** Replaces whatever is there. */
  async function put(stored: Stored | null): Promise<void> {
    const text = stored === null ? null : JSON.stringify(stored)
    for (let round = 0; round < maxRounds; round += 1)
      if (await store.swap(await store.load(), text)) return
    throw new AuthClientError('storage_failed', { message: 'the store is never as it was read' })
  }

  /** @returns what to present, with its attempt noted in the store */
  async function begin(): Promise<{ stored: Stored; text: string }> {
    for (let round = 0; round < maxRounds; round += 1) {
      const text = await store.load()
      const stored = parse(text)
      if (text === null || stored.signOut !== null)
        throw new AuthClientError('refresh_token_missing')
      if (stored.attemptId !== null) return { stored, text }
      const attempt = { ...stored, attemptId: newAttemptId() }
      const next = JSON.stringify(attempt)
      if (await store.swap(text, next)) return { stored: attempt, text: next }
    }
    throw new AuthClientError('storage_failed', { message: 'the store is never as it was read' })
  }

  async function accept(grant: Grant): Promise<Grant> {
    await put(freshOf(grant))
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
      // It begins a cookie's session, which nobody here could keep: ours is begun, and that one ended.
      const { familyId } = await post('register', { email, password }, signal)
      const grant = await login({ email, password }, signal)
      await endOther(server, grant, familyId).catch(() => {})
      return grant
    },

    async refresh(signal) {
      for (let round = 0; round < maxRounds; round += 1) {
        const { stored, text } = await begin()
        const { refreshToken, attemptId } = stored
        try {
          const input = { refreshToken, ...(attemptId !== null && { attemptId }) }
          const grant = await post('refresh', input, signal)
          if (await store.swap(text, JSON.stringify(freshOf(grant)))) return grant
          // Another process settled the attempt, or signed out, or somebody else in.
          if ((await store.load()) === null) throw new AuthClientError('refresh_token_missing')
          if (parse(await store.load()).refreshToken === grant.refreshToken) return grant
        } catch (error) {
          if (!isDefinitive(error)) throw error
          // Ours may be the loser of a race: what the winner stored is not ours to remove.
          if ((await store.swap(text, null)) || (await store.load()) === null) throw error
        }
      }
      throw new AuthClientError('storage_failed', { message: 'other processes are always quicker' })
    },

    async noteSignOut(everywhere) {
      const text = await store.load()
      if (text === null) return
      const stored = parse(text)
      await put({ ...stored, signOut: everywhere ? 'everywhere' : 'here' })
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

/** A store that throws is no answer of the server: the session stays. */
function guarded(storage: TokenStorage): TokenStorage {
  return {
    load: async () => storage.load().catch(failed),
    swap: async (expected, next) => storage.swap(expected, next).catch(failed),
  }
}

function failed(cause: unknown): never {
  throw new AuthClientError('storage_failed', { cause })
}

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
