import { lockMs } from './connect.ts'

/** Somebody else was at it for longer than anybody waits for a lock. */
export class MutexTimeout extends Error {
  override readonly name = 'NoTurn'
}

/**
 * Runs `work` when what came before it under this name is over.
 *
 * @throws {MutexTimeout} after five seconds; `work` is not run then
 */
export type KeyedMutex = <T>(name: string, work: () => Promise<T>) => Promise<T>

/**
 * One at a time of each name. What waits for a lock of the database keeps a connection: a row that is
 * locked for long, and asked for by many, would take all there are.
 */
export function createKeyedMutex(): KeyedMutex {
  const last = new Map<string, Promise<void>>()
  return (name, work) =>
    new Promise((resolve, reject) => {
      let hasGivenUp = false
      const timer = setTimeout(() => {
        hasGivenUp = true
        reject(new MutexTimeout(`others were at ${name} all the time`))
      }, lockMs)
      const turn = (last.get(name) ?? Promise.resolve()).then(async () => {
        if (hasGivenUp) return
        clearTimeout(timer)
        await work().then(resolve, reject)
      })
      last.set(name, turn)
      void turn.then(() => {
        if (last.get(name) === turn) last.delete(name)
      })
    })
}
