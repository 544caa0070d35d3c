import { AuthClientError } from '../errors.ts'
import type { TokenStorage } from '../storage.ts'
import { parse, type Stored } from './stored-token.ts'
import { newAttemptId } from './tab-storage.ts'

/** How often another process may change the store between our read and our swap. */
export const maxAttempts = 5

export function storeChanged(): AuthClientError {
  const message = `The token store was changed by another process; gave up after ${maxAttempts} attempts.`
  return new AuthClientError('storage_failed', { message })
}

/** The caller's store, whose errors become `storage_failed`: they are not answers of the server. */
export function openTokenStore(storage: TokenStorage) {
  const load = async () => storage.load().catch(failed)
  const swap = async (expected: string | null, next: string | null) =>
    storage.swap(expected, next).catch(failed)
  return {
    load,
    swap,

    /** Replaces whatever is stored. */
    async replace(stored: Stored): Promise<void> {
      const text = JSON.stringify(stored)
      for (let attempt = 0; attempt < maxAttempts; attempt += 1)
        if (await swap(await load(), text)) return
      throw storeChanged()
    },

    /**
     * Reads the token to refresh with. Its attempt id is stored before the request is sent.
     *
     * @throws {AuthClientError} `refresh_token_missing` when nothing is stored or a sign-out is noted
     */
    async beginAttempt(): Promise<{ stored: Stored; text: string }> {
      for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
        const text = await load()
        const stored = parse(text)
        if (text === null || stored.signOut !== null)
          throw new AuthClientError('refresh_token_missing')
        if (stored.attemptId !== null) return { stored, text }
        const begun = { ...stored, attemptId: newAttemptId() }
        const next = JSON.stringify(begun)
        if (await swap(text, next)) return { stored: begun, text: next }
      }
      throw storeChanged()
    },
  }
}

function failed(cause: unknown): never {
  throw new AuthClientError('storage_failed', { cause })
}
