import { toAuthClientError } from './errors.ts'

/**
 * Loads code with its first use. Code that does not load is a network that is down: the next use tries again. Some
 * browsers remember that an `import()` failed, and then each use fails until the page is loaded anew.
 */
export function onDemand<T>(load: () => Promise<T>): () => Promise<T> {
  let loading: Promise<T> | null = null
  return () =>
    (loading ??= load().catch((error: unknown) => {
      loading = null
      throw toAuthClientError(error)
    }))
}
