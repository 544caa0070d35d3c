import { AuthError } from '../errors.ts'

export type HashQueue = {
  /**
   * Runs `work` when a place is free, in order of arrival.
   *
   * @throws AuthError `service_unavailable`, at once, when the waiting line is full.
   */
  run<T>(work: () => Promise<T>): Promise<T>
  load(): HashLoad
}

/** How busy the queue is now: `active` hashes run, `waiting` callers stand in line. */
export type HashLoad = { readonly active: number; readonly waiting: number }

export type HashQueueOptions = { readonly concurrency: number; readonly queueLimit: number }

/**
 * Bounds what password checking may take from the process (ASVS 15.2.2). A place is held until the
 * work itself ends, so callers who hang up free nothing and cannot raise the concurrency.
 */
export function createHashQueue({ concurrency, queueLimit }: HashQueueOptions): HashQueue {
  if (!Number.isInteger(concurrency) || concurrency < 1) {
    throw new RangeError(`concurrency must be a whole number from 1, not ${concurrency}`)
  }
  if (!Number.isInteger(queueLimit) || queueLimit < 0) {
    throw new RangeError(`queueLimit must be a whole number from 0, not ${queueLimit}`)
  }
  let active = 0
  const waiting: (() => void)[] = []

  async function run<T>(work: () => Promise<T>): Promise<T> {
    if (active < concurrency) active += 1
    else if (waiting.length < queueLimit) await new Promise<void>((go) => waiting.push(go))
    else {
      const detail = `password hashing is full: ${active} running, ${waiting.length} waiting`
      throw new AuthError('service_unavailable', detail, { retryAfterSeconds: 1 })
    }
    try {
      return await work()
    } finally {
      // The place goes straight to the next in line, so nobody who arrives now can overtake it.
      const next = waiting.shift()
      if (next) next()
      else active -= 1
    }
  }

  return { run, load: () => ({ active, waiting: waiting.length }) }
}
