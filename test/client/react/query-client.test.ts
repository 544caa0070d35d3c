import { MutationObserver, QueryClient, QueryObserver } from '@tanstack/react-query'
import { expect, test } from 'vitest'
import { AuthClientError, createAuthClient, type Session } from '../../../client/index.ts'
import { connectQueryClient } from '../../../client/react/index.ts'

type Retry = (failures: number, error: unknown) => boolean

/** A client whose session a test sets. */
function standIn() {
  const auth = createAuthClient({ baseUrl: 'https://auth.example.com', transport: 'body' })
  const listeners = new Set<(session: Session) => void>()
  const subscribe = (listener: (session: Session) => void) => {
    listeners.add(listener)
    listener(auth.session)
    return () => void listeners.delete(listener)
  }
  const show = (id: string | null) => {
    const times = { familyId: '', accessTokenExpiresAt: 0, refreshExpiresAt: '', problem: null }
    const session: Session =
      id === null
        ? { status: 'signed-out', reason: 'logout', incidentId: null }
        : { status: 'signed-in', user: { id, email: `${id}@example.com`, role: 'user' }, ...times }
    for (const listener of listeners) listener(session)
  }
  return { auth: { ...auth, subscribe }, show }
}

test('only what has nothing to do with the access token is retried, as often as before', () => {
  const refused = [
    new AuthClientError('session_revoked'),
    new AuthClientError('access_token_revoked'),
    { data: { httpStatus: 401 } },
    { status: 401 },
    { response: { status: 401 } },
    new Error('a call failed', { cause: new AuthClientError('refresh_token_missing') }),
  ]
  const failed = [new TypeError('Failed to fetch'), { status: 500 }, undefined, 'text']
  const retryOf = (retry?: boolean | number | Retry): Retry => {
    const queries = new QueryClient({
      defaultOptions: { queries: { ...(retry !== undefined && { retry }) } },
    })
    connectQueryClient(standIn().auth, queries)
    return queries.getDefaultOptions().queries?.retry as Retry
  }
  for (const error of refused) expect(retryOf(true)(0, error)).toBe(false)
  for (const error of failed) {
    expect([0, 1, 2, 3].map((failures) => retryOf()(failures, error))).toEqual([
      true,
      true,
      true,
      false,
    ])
    expect([0, 1].map((failures) => retryOf(1)(failures, error))).toEqual([true, false])
    expect(retryOf(false)(0, error)).toBe(false)
    expect(retryOf((failures) => failures === 7)(7, error)).toBe(true)
  }
})

test('another person finds neither the answers on the page nor those off it; a refresh changes nothing', async () => {
  const queries = new QueryClient({ defaultOptions: { queries: { staleTime: Infinity } } })
  const { auth, show } = standIn()
  const disconnect = connectQueryClient(auth, queries)
  let person = 'ada'
  let asked = 0
  const queryFn = () => ((asked += 1), Promise.resolve(`of ${person}`))
  const shown = new QueryObserver(queries, { queryKey: ['shown'], queryFn })
  const paused = new QueryObserver(queries, { queryKey: ['paused'], queryFn, enabled: false })
  const stop = [shown.subscribe(() => {}), paused.subscribe(() => {})]
  show('ada')
  await paused.refetch()
  await queries.fetchQuery({ queryKey: ['left'], queryFn })
  await expect.poll(() => shown.getCurrentResult().data).toBe('of ada')
  expect(asked).toBe(3)

  show('ada')
  expect(paused.getCurrentResult().data).toBe('of ada')
  person = 'bob'
  show('bob')
  expect(shown.getCurrentResult().data).toBeUndefined()
  expect(paused.getCurrentResult().data).toBeUndefined()
  expect(queries.getQueryData(['left'])).toBeUndefined()
  await expect.poll(() => shown.getCurrentResult().data).toBe('of bob')
  expect(asked).toBe(4)

  disconnect()
  show(null)
  expect(shown.getCurrentResult().data).toBe('of bob')
  expect(queries.getDefaultOptions().queries).toEqual({ staleTime: Infinity })
  for (const end of stop) end()
  auth.dispose()
})

test('a mutation that another sign-in overtook is not retried, and a query is', () => {
  const queries = new QueryClient({
    defaultOptions: { queries: { retry: true }, mutations: { retry: true } },
  })
  connectQueryClient(standIn().auth, queries)
  const defaults = queries.getDefaultOptions()
  const ofQueries = defaults.queries?.retry as Retry
  const ofMutations = defaults.mutations?.retry as Retry
  const superseded = new AuthClientError('superseded')
  for (const error of [superseded, new Error('a call failed', { cause: superseded })]) {
    expect(ofMutations(0, error)).toBe(false)
    expect(ofQueries(0, error)).toBe(true)
  }
  expect(ofMutations(0, new TypeError('Failed to fetch'))).toBe(true)
})

test('a mutation that sleeps before a retry does not run as the next person', async () => {
  const queries = new QueryClient()
  const { auth, show } = standIn()
  connectQueryClient(auth, queries)
  show('ada')
  let runs = 0
  const options = {
    mutationFn: async () => {
      runs += 1
      throw new TypeError('Failed to fetch')
    },
    retry: (failures: number) => failures < 2,
    retryDelay: 50,
  }
  const observer = new MutationObserver(queries, options)
  const unsubscribe = observer.subscribe(() => {})
  const done = observer.mutate().catch((error: unknown) => error)
  await expect.poll(() => observer.getCurrentResult().failureCount).toBe(1)
  show('bob')
  // As its component does, which may stay on the page.
  observer.setOptions({ ...options })
  expect(await done).toMatchObject({ reason: 'superseded' })
  expect(runs).toBe(1)
  unsubscribe()
  auth.dispose()
})
