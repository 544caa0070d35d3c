/**
 * Where a native app or a tool keeps its refresh token: a keychain, a file. The text is ours; keep
 * it secret and as it is. Several processes may share one store.
 */
export type TokenStorage = {
  /** @returns null when nothing is stored */
  load(): Promise<string | null>
  /**
   * Stores `next` if what is stored is still `expected`; null means nothing. One step, and durable when it resolves.
   *
   * @returns whether it was
   */
  swap(expected: string | null, next: string | null): Promise<boolean>
}

/** Lasts as long as the process. */
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
