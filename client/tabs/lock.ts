import { sleep } from '../sleep.ts'

/** A frozen tab that holds the lock must not block the others for longer than this. */
const defaultWaitMs = 5_000

/**
 * Without the Web Locks API, tabs that wake together start up to this far apart, so that most of them find the
 * attempt id that the first one has stored.
 */
const spreadMs = 50

/**
 * Runs `task` while no other tab of this origin runs one of the same name, if possible. After `waitMs`, or
 * without locks, it runs anyway: the lock saves requests, but refreshes are correct without it.
 *
 * @param task Its argument says whether this tab holds the lock.
 */
export async function withTabLock<T>(
  name: string,
  task: (isAlone: boolean) => Promise<T>,
  waitMs = defaultWaitMs,
): Promise<T> {
  const locks = globalThis.navigator?.locks
  if (locks === undefined) {
    await sleep(Math.random() * spreadMs)
    return task(false)
  }
  const waiting = new AbortController()
  const timer = setTimeout(() => waiting.abort(), waitMs)
  let hasBegun = false
  try {
    return await locks.request(name, { signal: waiting.signal }, async () => {
      hasBegun = true
      clearTimeout(timer)
      return task(true)
    })
  } catch (error) {
    // Not the error of the task: the wait took too long, or the page has no origin and may not lock.
    if (hasBegun) throw error
    return task(false)
  } finally {
    clearTimeout(timer)
  }
}
