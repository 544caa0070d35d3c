import { requestTimeoutMs } from '../auth-api.ts'
import { AuthClientError } from '../errors.ts'
import { sleep } from '../sleep.ts'
import type { TokenStorage } from '../storage.ts'
import { newAttemptId } from './attempt-id.ts'
import { parse, type Stored } from './stored-token.ts'

/** How often another process may change the store between our read and our swap. */
const maxSwaps = 50
const betweenSwapsMs = 20
/** A request in flight is noted for this long; a killed process cannot remove its own. */
const inFlightMs = requestTimeoutMs + 5_000
const betweenLooksMs = 50

export function storeChanged(): AuthClientError {
  const message = `The token store was changed by another process; gave up after ${maxSwaps} attempts.`
  return new AuthClientError('storage_failed', { message })
}

/** One request of an attempt. */
export type Begun = {
  readonly requestId: string
  readonly refreshToken: string
  readonly attemptId: string
}

/** The caller's store, whose errors become `storage_failed`: they are not answers of the server. */
export function openTokenStore(storage: TokenStorage) {
  const load = () => orFail(async () => storage.load())
  const swap = (expected: string | null, next: string | null) =>
    orFail(async () => storage.swap(expected, next))

  /** Replaces what is stored by what `change` makes of it. @returns what is stored then */
  async function update(change: (stored: Stored | null) => Stored | null): Promise<Stored | null> {
    for (let tries = 0; tries < maxSwaps; tries += 1) {
      const text = await load()
      const stored = text === null ? null : parse(text)
      const next = change(stored)
      if (next === stored) return stored
      if (await swap(text, next === null ? null : JSON.stringify(next))) return next
      await sleep(Math.random() * betweenSwapsMs)
    }
    throw storeChanged()
  }

  return {
    load,
    swap,
    update,

    /**
     * Reads the token to refresh with, and notes the request before it is sent. Processes that refresh at the same
     * time share one attempt. The next attempt waits until all requests of the last one are answered or given up: a
     * request that reached the server two rotations late would be reuse.
     *
     * @throws {AuthClientError} `refresh_token_missing` when nothing is stored or a sign-out is noted; `superseded`
     */
    async beginAttempt(signal: AbortSignal): Promise<Begun> {
      const requestId = newAttemptId()
      for (let tries = 0; tries < maxSwaps;) {
        if (signal.aborted) throw new AuthClientError('superseded')
        const text = await load()
        const stored = parse(text)
        if (text === null || stored.signOut !== null)
          throw new AuthClientError('refresh_token_missing')
        const now = Date.now()
        const others = withoutGivenUp(stored.inFlight, now)
        if (stored.attemptId === null && Object.keys(others).length > 0) {
          await sleep(betweenLooksMs)
          continue
        }
        tries += 1
        const { refreshToken } = stored
        const attemptId = stored.attemptId ?? newAttemptId()
        const inFlight = { ...others, [requestId]: now + inFlightMs }
        const isNoted = await swap(text, JSON.stringify({ ...stored, attemptId, inFlight }))
        // A process that was suspended meanwhile begins again, because its note may be out of date.
        if (isNoted && Date.now() + requestTimeoutMs <= now + inFlightMs)
          return { requestId, refreshToken, attemptId }
        await sleep(Math.random() * betweenSwapsMs)
      }
      throw storeChanged()
    },

    /**
     * Removes the note of a request, and stores `next` if its attempt is still the stored one. Null signs out; without
     * `next` the attempt stays, to be repeated.
     *
     * @returns what is stored then
     */
    async endRequest(begun: Begun, next?: Stored | null): Promise<Stored | null> {
      return update((stored) => {
        if (stored === null) return null
        const { [begun.requestId]: own, ...inFlight } = stored.inFlight
        const isStored =
          stored.refreshToken === begun.refreshToken &&
          stored.attemptId === begun.attemptId &&
          stored.signOut === null
        if (isStored && next !== undefined) return next && { ...next, inFlight }
        return own === undefined ? stored : { ...stored, inFlight }
      })
    },
  }
}

/** A time that is too far ahead was noted before the clock was set back. */
function withoutGivenUp(inFlight: Stored['inFlight'], now: number): Record<string, number> {
  return Object.fromEntries(
    Object.entries(inFlight).filter(([, until]) => until > now && until <= now + inFlightMs),
  )
}

async function orFail<T>(use: () => Promise<T>): Promise<T> {
  try {
    return await use()
  } catch (cause) {
    throw new AuthClientError('storage_failed', { cause })
  }
}
