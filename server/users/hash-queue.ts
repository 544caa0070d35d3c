import { AuthError } from '../errors.ts'

export type HashQueue = {
  /**
   * Runs `work` when a slot is free, in order of arrival.
   *
   * @throws {AuthError} `service_unavailable`, immediately, if the queue is full
   */
  run<T>(work: () => Promise<T>): Promise<T>
  load(): HashLoad
}

/** The load now: `active` hashes run, `waiting` callers are queued. */
export type HashLoad = { readonly active: number; readonly waiting: number }

export type HashQueueOptions = { readonly concurrency: number; readonly queueLimit: number }

/**
 * Limits the resources that password hashing takes (ASVS 15.2.2). A slot is held until the work itself
 * ends: a client that hangs up frees no slot and cannot raise the concurrency.
 */
export function createHashQueue({ concurrency, queueLimit }: HashQueueOptions): HashQueue {
  if (!Number.isInteger(concurrency) || concurrency < 1) {
    throw new RangeError(`concurrency must be a whole number of at least 1, not ${concurrency}`)
  }
  if (!Number.isInteger(queueLimit) || queueLimit < 0) {
    throw new RangeError(`queueLimit must be a whole number of at least 0, not ${queueLimit}`)
  }
  let active = 0
  const waiting: (() => void)[] = []

  async function run<T>(work: () => Promise<T>): Promise<T> {
    if (active < concurrency) active += 1
    else if (waiting.length < queueLimit)
      await new Promise<void>((resolve) => waiting.push(resolve))
    else {
      const detail = `password hashing is full: ${active} running, ${waiting.length} waiting`
      throw new AuthError('service_unavailable', detail, { retryAfterSeconds: 1 })
    }
    try {
      return await work()
    } finally {
      // The slot goes directly to the next caller in the queue, so that no later caller can overtake it.
      const next = waiting.shift()
      if (next) next()
      else active -= 1
    }
  }

  return { run, load: () => ({ active, waiting: waiting.length }) }
}
