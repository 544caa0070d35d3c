import { toAuthClientError } from './errors.ts'

/** Loads code with its first use. Code that does not load is a network that is down: the next use tries again. */
export function onDemand<T>(load: () => Promise<T>): () => Promise<T> {
  let loading: Promise<T> | null = null
  return () =>
    (loading ??= load().catch((error: unknown) => {
      loading = null
      throw toAuthClientError(error)
    }))
}
