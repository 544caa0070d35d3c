import { createTRPCClient } from '@trpc/client'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { field } from '../../client/auth-api.ts'
import {
  createAuthClient,
  memoryStorage,
  type AuthClient,
  type AuthClientOptions,
  type TokenStorage,
} from '../../client/index.ts'
import { authLink, authSubscriptionLink, reasonOf, type AppRouter } from '../../client/trpc.ts'
import { grantingFetch } from '../support/granting-fetch.ts'

const baseUrl = 'https://auth.example.com'
const ann = { id: '1', email: 'ann@example.com', role: 'user' }
const bob = { id: '2', email: 'bob@example.com', role: 'user' }

let auth: AuthClient
let storage: TokenStorage
/** The tokens of the calls, in order. */
let calls: (string | null)[]
/** What happens before the service answers. */
let onCall: () => unknown
let onRefresh: () => unknown
let onLogin: () => unknown

/** Each call is refused because of its token. */
const refusal = { error: { message: '', code: -32001, data: { reason: 'access_token_expired' } } }

let user = ann
const service = grantingFetch(() => user)
const fetch: typeof globalThis.fetch = async (input, init) => {
  const path = new URL(input as string).pathname
  if (path === '/auth/login') {
    const isBob = JSON.stringify(init ?? {}).includes(bob.email)
    await onLogin()
    user = isBob ? bob : ann
  }
  if (path === '/auth/refresh') await onRefresh()
  if (path.startsWith('/auth/')) return service.fetch(input, init)
  calls.push(new Headers(init?.headers).get('authorization'))
  await onCall()
  return Response.json(path.endsWith('/me') ? [refusal] : refusal, { status: 401 })
}

function open(options: Pick<AuthClientOptions, 'onStepUp' | 'initial'> = {}): void {
  auth = createAuthClient({ baseUrl, storage, fetch, ...options })
}

beforeEach(() => {
  calls = []
  storage = memoryStorage()
  onCall = onRefresh = onLogin = () => {}
})
afterEach(() => auth.dispose())

const signIn = ({ email }: typeof ann) => auth.login({ email, password: 'correct horse battery' })

async function tokenOf({ email }: typeof ann): Promise<string> {
  expect(auth.session).toMatchObject({ user: { email } })
  return `Bearer ${await auth.getAccessToken()}`
}

/** Calls the service, and answers with why it was refused. */
const ways: [string, () => Promise<unknown>][] = [
  [
    'auth.fetch',
    async () => {
      const response = await auth.fetch('/trpc/orders')
      return ((await response.json()) as typeof refusal).error.data.reason
    },
  ],
  [
    'authLink',
    () =>
      createTRPCClient<AppRouter>({ links: [authLink(auth)] })
        .me.query()
        .catch(reasonOf),
  ],
]
const clients = [{}, { onStepUp: async () => true }].flatMap((options) =>
  ways.map(([name, call]) => [name, Object.keys(options), { options, call }] as const),
)

test.each(clients)(
  '%s (options %s) repeats no refused call with the token of another user, who has signed in meanwhile',
  async (_name, _options, { options, call }) => {
    open(options)
    await signIn(ann)
    const own = await tokenOf(ann)
    onCall = () => signIn(bob)
    expect(await call()).toBe('access_token_expired')
    expect(calls).toEqual([own])
    expect(auth.session).toMatchObject({ user: bob })
  },
)

test.each(clients)(
  '%s (options %s) sends no call with the token of another user, who has signed in while it waited for one',
  async (_name, _options, { options, call }) => {
    open()
    await signIn(ann)
    auth.dispose()
    open({ ...options, initial: { user: { ...ann, role: 'user' } } })
    onRefresh = () => signIn(bob)
    const reason = await call().catch((error: unknown) => field(error, 'reason'))
    expect(reason).toBe('superseded')
    expect(calls).toEqual([])
    expect(auth.session).toMatchObject({ user: bob })
  },
)

test('of two sign-ins at once the later one counts, though the answer of the first comes last', async () => {
  open()
  let answer: (() => void) | undefined
  onLogin = () => answer ?? new Promise<void>((resolve) => (answer = resolve))
  const first = signIn(ann).catch((error: unknown) => field(error, 'reason'))
  await vi.waitFor(() => expect(answer).toBeDefined())
  await signIn(bob)
  const stored = await storage.load()
  answer?.()
  expect(await first).toBe('superseded')
  expect(auth.session).toMatchObject({ user: bob })
  expect(await storage.load()).toBe(stored)
})

test('a subscription does not go on with the token of another user, who has signed in meanwhile', async () => {
  open()
  await signIn(ann)
  const own = await tokenOf(ann)
  onCall = async () => {
    await signIn(bob)
    throw new TypeError('the line is cut')
  }
  const link = authSubscriptionLink<AppRouter>(auth)
  const client = createTRPCClient<AppRouter>({ links: [link] })
  const error = await new Promise((resolve) =>
    client.admin.ledger.tail.subscribe(undefined, { onError: resolve }),
  )
  expect(reasonOf(error)).toBe('superseded')
  expect(calls).toEqual([own])
})
