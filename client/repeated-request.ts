import { AuthClientError } from './errors.ts'

/** A stream can be sent only once. Before a redirect, the first request may have been carried out. */
export function mayRepeat(init: RequestInit | undefined, response: Response): boolean {
  const isStream = typeof ReadableStream !== 'undefined' && init?.body instanceof ReadableStream
  return !isStream && !response.redirected
}

/** Rejects as `fetch` does when the caller gives up while a token is awaited. The token's request goes on. */
export function untilAborted<T>(
  signal: AbortSignal | null | undefined,
  task: Promise<T>,
): Promise<T> {
  if (!signal) return task
  return new Promise((resolve, reject) => {
    // React Native's signals have no reason.
    const abort = () => reject(signal.reason ?? new AuthClientError('superseded'))
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort)
    task.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}
