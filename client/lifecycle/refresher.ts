import { stopwatch } from './held-token.ts'
import { AuthClientError, isDefinitive, isTransient, toAuthClientError } from '../errors.ts'
import { sleep } from '../sleep.ts'
import { singleFlight } from './single-flight.ts'

/** Decides when to refresh and when to try again. */
export type Refresher = {
  /** Refreshes now; calls during a refresh share it. Rejects with the last try's error. */
  now(): Promise<void>
  /** Like `now`, but after a failure rejects with the same error until the next try is due. */
  nowIfAllowed(): Promise<void>
  /** Plans the next refresh, for a token that expires after `lifetimeMs`. */
  plan(lifetimeMs: number): void
  /** Plans another try after a failure. */
  retryLater(error: AuthClientError): void
  /** The error it retries after; null when it is not waiting for a retry. */
  failure(): AuthClientError | null
  /** Cancels planned refreshes and forgets failures. A refresh in progress rejects with `superseded`. */
  stop(): void
}

/** Tries in one call, with a pause of about half a second. Later retries are planned by timer. */
const maxTries = 3
const betweenTriesMs = 400
const firstRetryMs = 1_000
const longestRetryMs = 60_000
/** The longest delay of `setTimeout`; a longer one fires at once. */
const maxTimerMs = 2 ** 31 - 1

export function createRefresher(
  attempt: () => Promise<void>,
  onProblem: (error: AuthClientError) => void,
): Refresher {
  let timer: ReturnType<typeof setTimeout> | undefined
  let failures = 0
  let waiting: { readonly error: AuthClientError; leftMs(): number } | null = null
  let stops = 0

  const flight = singleFlight(async () => {
    const begun = stops
    for (let tries = 1; ; tries += 1) {
      if (begun !== stops) throw new AuthClientError('superseded')
      try {
        await attempt()
        return
      } catch (cause) {
        const error = toAuthClientError(cause)
        if (begun !== stops || isDefinitive(error) || error.reason === 'superseded') throw error
        if (tries < maxTries && isTransient(error)) {
          await sleep(betweenTriesMs * tries * between(0.5, 1))
          continue
        }
        retryLater(error)
        onProblem(error)
        throw error
      }
    }
  })

  function runLater(delayMs: number): void {
    clearTimeout(timer)
    timer = setTimeout(() => void flight.run().catch(() => {}), Math.min(delayMs, maxTimerMs))
    // In Node, the timer must not keep the process alive.
    timer.unref?.()
  }

  function retryLater(error: AuthClientError): void {
    failures += 1
    const askedMs = (error.retryAfterSeconds ?? 0) * 1000 * between(1, 1.2)
    const longest =
      isTransient(error) || askedMs > 0 ? firstRetryMs * 2 ** (failures - 1) : Infinity
    const delayMs = Math.max(askedMs, Math.min(longest, longestRetryMs) * between(0.5, 1))
    const watch = stopwatch()
    waiting = { error, leftMs: () => delayMs - watch() }
    runLater(delayMs)
  }

  function stop(): void {
    clearTimeout(timer)
    failures = 0
    waiting = null
    stops += 1
    flight.forget()
  }

  return {
    now: () => flight.run(),
    // Measured, not read from the timer, which may fire an hour late after sleep.
    nowIfAllowed: () =>
      waiting !== null && waiting.leftMs() > 0 ? Promise.reject(waiting.error) : flight.run(),
    plan(lifetimeMs) {
      failures = 0
      waiting = null
      // Before it expires, and at a random time, so that clients do not refresh all at once.
      runLater(lifetimeMs * between(0.75, 0.9))
    },
    retryLater,
    failure: () => waiting?.error ?? null,
    stop,
  }
}

function between(low: number, high: number): number {
  return low + Math.random() * (high - low)
}
