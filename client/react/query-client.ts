import { field } from '../auth-api.ts'
import type { AuthClient } from '../public-types.ts'

/** What is used of TanStack Query's `QueryClient`, version 4 or 5. */
export type QueryClientLike = {
  getDefaultOptions(): { readonly queries?: Retrying; readonly mutations?: Retrying }
  setDefaultOptions(options: object): void
  resetQueries(): Promise<unknown>
  removeQueries(filters: { predicate(query: { getObserversCount(): number }): boolean }): void
  getMutationCache(): { getAll(): readonly MutationLike[]; clear(): void }
}

type MutationLike = { readonly options: object; setOptions(options: object): void }

/** TanStack Query's own number of retries in a browser. */
const defaultRetries = 3

/**
 * Keeps the answers of one person from the next. When another person signs in, or the user signs out, it drops what
 * is not on the page, resets what is, and asks again. A mutation of that person is not sent again. Queries that fail because the access token is missing or
 * refused (401) are not retried; they are asked again after the sign-in. Call it once, in browsers only.
 *
 * @returns a function that ends the connection
 */
export function connectQueryClient(auth: AuthClient, queryClient: QueryClientLike): () => void {
  const before = queryClient.getDefaultOptions()
  queryClient.setDefaultOptions({
    ...before,
    queries: {
      ...before.queries,
      retry: unlessUnauthorized(before.queries?.retry ?? defaultRetries, aboutToken),
    },
    mutations: {
      ...before.mutations,
      retry: unlessUnauthorized(before.mutations?.retry ?? 0, ofMutation),
    },
  })
  let userId: string | null | undefined
  const unsubscribe = auth.subscribe((session) => {
    if (session.status === 'unknown') return
    const next = session.status === 'signed-in' ? session.user.id : null
    const hasChanged = userId !== undefined && userId !== next
    userId = next
    if (!hasChanged) return
    // Not `clear`: components on the page would keep what they show.
    queryClient.removeQueries({ predicate: (query) => query.getObserversCount() === 0 })
    for (const mutation of queryClient.getMutationCache().getAll()) endRetries(mutation)
    queryClient.getMutationCache().clear()
    queryClient.resetQueries().catch(() => {})
  })
  return () => {
    unsubscribe()
    queryClient.setDefaultOptions(before)
  }
}

type Retry = boolean | number | ((failures: number, error: never) => boolean)
type Retrying = { readonly retry?: Retry | undefined }

/** @param final the reasons of this client that are not retried */
function unlessUnauthorized(retry: Retry, final: RegExp) {
  return (failures: number, error: unknown): boolean => {
    if (isUnauthorized(error, final)) return false
    if (typeof retry === 'function') return retry(failures, error as never)
    return typeof retry === 'number' ? failures < retry : retry
  }
}

const aboutToken = /^(?:access_token|refresh_token|session)_/
/** A mutation that another sign-in overtook would run again as that user. A query belongs to the page. */
const ofMutation = /^(?:access_token|refresh_token|session)_|superseded/

const refuse = () =>
  Promise.reject(Object.assign(new Error('superseded'), { reason: 'superseded' }))

/** A mutation that sleeps before a retry, or waits for the network, runs this in place of its own function. */
function endRetries(mutation: MutationLike): void {
  mutation.setOptions({ ...mutation.options, mutationFn: refuse })
  // A component that stays on the page would set the function of before.
  mutation.setOptions = () => {}
}

/** By the errors of this client and of tRPC, and by the status in those of other libraries. */
function isUnauthorized(error: unknown, final: RegExp): boolean {
  return [error, field(error, 'cause')].some((one) => {
    const statuses = [
      field(one, 'status'),
      field(one, 'response', 'status'),
      field(one, 'data', 'httpStatus'),
    ]
    const isOurs = final.test(String(field(one, 'reason')))
    return isOurs || statuses.includes(401)
  })
}
