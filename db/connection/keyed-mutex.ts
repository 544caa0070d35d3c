/** How long a caller waits for a lock, in the database (`lock_timeout`) and in this process. */
export const lockMs = 5_000

/** The mutex was not released within `lockMs`. */
export class MutexTimeout extends Error {
  override readonly name = 'MutexTimeout'
}

/**
 * Runs `work` once the earlier calls with this key have settled.
 *
 * @throws {MutexTimeout} after `lockMs`, without running `work`
 */
export type KeyedMutex = <T>(key: string, work: () => Promise<T>) => Promise<T>

/**
 * Runs one call at a time per key, in this process. A transaction that waits for a row lock holds a
 * connection: without this, many callers of one locked row would hold all of them.
 */
export function createKeyedMutex(): KeyedMutex {
  const last = new Map<string, Promise<void>>()
  return (key, work) =>
    new Promise((resolve, reject) => {
      let hasGivenUp = false
      const timer = setTimeout(() => {
        hasGivenUp = true
        reject(new MutexTimeout(`timed out after ${lockMs / 1000} s waiting for ${key}`))
      }, lockMs)
      const turn = (last.get(key) ?? Promise.resolve()).then(async () => {
        if (hasGivenUp) return
        clearTimeout(timer)
        await work().then(resolve, reject)
      })
      last.set(key, turn)
      void turn.then(() => {
        if (last.get(key) === turn) last.delete(key)
      })
    })
}
