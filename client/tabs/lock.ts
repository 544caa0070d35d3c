/** Longer than any answer we wait for elsewhere would be patience with a tab that sleeps. */
const defaultWaitMs = 5_000

/** Without locks, tabs that wake together start this far apart at most, so that most see the first one's note. */
const spreadMs = 50

/**
 * Runs `task` while no other tab of this origin runs one of that name, as far as can be had.
 *
 * The lock saves work and is not what makes a refresh right: a tab that is frozen while it holds the
 * lock would otherwise stop all the others. Who waited too long goes ahead.
 *
 * @param task Hears whether no other tab can be at it.
 */
export async function withTabLock<T>(
  name: string,
  task: (isAlone: boolean) => Promise<T>,
  waitMs = defaultWaitMs,
): Promise<T> {
  const locks = globalThis.navigator?.locks
  if (locks === undefined) {
    await new Promise((resolve) => setTimeout(resolve, Math.random() * spreadMs))
    return task(false)
  }
  const patience = new AbortController()
  const timer = setTimeout(() => patience.abort(), waitMs)
  let hasBegun = false
  try {
    return await locks.request(name, { signal: patience.signal }, async () => {
      hasBegun = true
      clearTimeout(timer)
      return task(true)
    })
  } catch (error) {
    // Out of patience, or a page without an origin, which may not lock.
    if (hasBegun) throw error
    return task(false)
  } finally {
    clearTimeout(timer)
  }
}
