import { stopwatch } from './held-token.ts'
import { AuthClientError, isDefinitive, isTransient, toAuthClientError } from '../errors.ts'
import { singleFlight } from './single-flight.ts'

/** Decides when to refresh; what a refresh is, it is told. */
export type Refresher = {
  /** Refreshes now; callers that come while it runs share it. Rejects with what went wrong. */
  now(): Promise<void>
  /** As `now`, but after a failure rejects with that until the next try is due. */
  nowIfAllowed(): Promise<void>
  /** Plans the next one, for a token that lives this long from now. */
  plan(lifetimeMs: number): void
  /** Plans another try after a failure. */
  retryLater(error: AuthClientError): void
  /** Why it is waiting for another try; null when it is not. */
  failure(): AuthClientError | null
  /** Forgets plans and failures; what runs is superseded. */
  stop(): void
}

/** Tries in one call; between them half a second or so. More would be the plan's. */
const maxTries = 3
const betweenTriesMs = 400
const firstRetryMs = 1_000
const longestRetryMs = 60_000
/** The longest time `setTimeout` takes; more would fire at once. */
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
    // In Node a session alone does not keep the process running.
    if (typeof timer === 'object' && 'unref' in timer) timer.unref()
  }

  function retryLater(error: AuthClientError): void {
    failures += 1
    const asked = (error.retryAfterSeconds ?? 0) * 1000 * between(1, 1.2)
    const longest = isTransient(error) || asked > 0 ? firstRetryMs * 2 ** (failures - 1) : Infinity
    const delayMs = Math.max(asked, Math.min(longest, longestRetryMs) * between(0.5, 1))
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
    // The timer may come late by an hour; the wait is over all the same.
    nowIfAllowed: () =>
      waiting !== null && waiting.leftMs() > 0 ? Promise.reject(waiting.error) : flight.run(),
    plan(lifetimeMs) {
      failures = 0
      waiting = null
      // Ahead of expiry, and not all at the same moment.
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

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
