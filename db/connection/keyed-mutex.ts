/** How long a caller waits for a lock, in the database (`lock_timeout`) and in this process. */
export const lockMs = 5_000

/** The mutex was not released within `lockMs`. */
export class MutexTimeout extends Error {
  override readonly name = 'MutexTimeout'
}

/** As many callers wait for the mutex as may. */
export class MutexFull extends Error {
  override readonly name = 'MutexFull'
}

/**
 * Runs `work` once the earlier calls with this key have settled.
 *
 * @throws {MutexTimeout} after `lockMs`, without running `work`
 * @throws {MutexFull} at once, when `maxWaiting` callers wait for the same key
 */
export type KeyedMutex = <T>(key: string, work: () => Promise<T>) => Promise<T>

/**
 * Runs one call at a time per key, in this process. A transaction that waits for a row lock holds a
 * connection: without this, many callers of one locked row would hold all of them.
 */
export function createKeyedMutex({ maxWaiting = Infinity } = {}): KeyedMutex {
  const last = new Map<string, Promise<void>>()
  const callers = new Map<string, number>()
  return (key, work) =>
    new Promise((resolve, reject) => {
      const ahead = callers.get(key) ?? 0
      if (ahead > maxWaiting) return reject(new MutexFull(`${maxWaiting} callers wait for ${key}`))
      callers.set(key, ahead + 1)
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
        callers.set(key, (callers.get(key) ?? 1) - 1)
        if (last.get(key) !== turn) return
        last.delete(key)
        callers.delete(key)
      })
    })
}
