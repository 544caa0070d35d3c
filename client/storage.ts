/**
 * Where a native app or a tool stores its refresh token: a keychain, a file. Treat the text as opaque and keep it
 * secret. Several processes may share one store.
 */
export type TokenStorage = {
  /** @returns null when nothing is stored */
  load(): Promise<string | null>
  /**
   * Stores `next` if the stored text is still `expected`; null stands for nothing stored. It must be atomic, and
   * durable once it resolves.
   *
   * @returns false, with nothing changed, when the stored text was not `expected`
   */
  swap(expected: string | null, next: string | null): Promise<boolean>
}

/** A store in memory, which lasts as long as the process. */
export function memoryStorage(): TokenStorage {
  let stored: string | null = null
  return {
    load: async () => stored,
    async swap(expected, next) {
      if (stored !== expected) return false
      stored = next
      return true
    },
  }
}
