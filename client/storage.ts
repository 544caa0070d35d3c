/**
 * Where a native app or a tool stores its refresh token: a keychain, a file. Treat the text as opaque and keep it
 * secret. Several processes may share one store.
 */
export type TokenStorage = {
  /**
   * Whether the access token is stored as well, so that a tool that is started again and again refreshes once in its
   * lifetime. False unless given.
   */
  readonly keepAccessToken?: boolean
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

/** What keychains and key-value stores can do, for one key of theirs. */
export type GetSet = {
  /** Nothing stored is null or undefined. A store that is locked must throw: nothing stored is a sign-out. */
  readonly get: () => Awaitable<string | null | undefined>
  readonly set: (text: string) => Awaitable<unknown>
  readonly remove: () => Awaitable<unknown>
}

type Awaitable<T> = T | PromiseLike<T>

/**
 * Makes a storage of functions that read, write and remove one text. It is atomic within this process alone: use it
 * where one process has the store, and make one client for it.
 *
 * @example
 * const key = 'token-ledger'
 * const storage = fromGetSet({
 *   get: () => SecureStore.getItemAsync(key),
 *   set: (text) => SecureStore.setItemAsync(key, text),
 *   remove: () => SecureStore.deleteItemAsync(key),
 * })
 */
export function fromGetSet({ get, set, remove }: GetSet): TokenStorage {
  let last: Promise<unknown> = Promise.resolve()
  const load = async () => (await get()) ?? null
  return {
    load,
    swap(expected, next) {
      const swapped = last.then(async () => {
        if ((await load()) !== expected) return false
        await (next === null ? remove() : set(next))
        return true
      })
      last = swapped.catch(() => {})
      return swapped
    },
  }
}
