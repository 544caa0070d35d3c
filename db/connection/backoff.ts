/** After the first failed attempt, and at most. */
const firstDelayMs = 25
const maxDelayMs = 500

/** Keeps a server that refuses connections, or closes them at once, from being asked thousands of times a second. */
export type Backoff = {
  /** Null if the caller may connect now: it reports how that went. Otherwise what the last attempt failed with. */
  ask(): Error | null
  failed(error: Error): void
  succeeded(): void
  /** The attempt ended before its outcome was known. */
  abandoned(): void
}

/**
 * Allows any number of attempts until one fails. From then on one attempt at a time may be made, each later than the
 * one before, until one succeeds. Callers in between fail at once: none of them waits for a server that is away.
 */
export function createBackoff(): Backoff {
  let failures = 0
  let retryAt = 0
  let lastError: Error | null = null
  let isTrying = false
  return {
    ask() {
      if (lastError === null) return null
      if (isTrying || performance.now() < retryAt) return lastError
      isTrying = true
      return null
    },
    failed(error) {
      isTrying = false
      lastError = error
      // Attempts that were made at the same time count as one.
      if (performance.now() < retryAt) return
      const delayMs = Math.min(firstDelayMs * 2 ** failures, maxDelayMs)
      failures += 1
      retryAt = performance.now() + delayMs * (0.5 + Math.random() / 2)
    },
    succeeded() {
      failures = 0
      lastError = null
      isTrying = false
    },
    abandoned() {
      isTrying = false
    },
  }
}
