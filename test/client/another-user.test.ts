import { createTRPCClient } from '@trpc/client'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { field } from '../../client/auth-api.ts'
import {
  createAuthClient,
  memoryStorage,
  type AuthClient,
  type AuthClientOptions,
  type TokenStorage,
} from '../../client/index.ts'
import { openTabChannel } from '../../client/tabs/channel.ts'
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
let hasLostLogin = false

/** Each call is refused because of its token. */
const refusal = { error: { message: '', code: -32001, data: { reason: 'access_token_expired' } } }

let user = ann
const service = grantingFetch(() => user)
const fetch: typeof globalThis.fetch = async (input, init) => {
  const path = new URL(input as string).pathname
  if (path === '/auth/login') {
    const isBob = JSON.stringify(init ?? {}).includes(bob.email)
    await onLogin()
    if (hasLostLogin) throw new TypeError('the line is cut')
    user = isBob ? bob : ann
  }
  if (path === '/auth/refresh') await onRefresh()
  if (path.startsWith('/auth/')) return service.fetch(input, init)
  calls.push(new Headers(init?.headers).get('authorization'))
  const answer = await onCall()
  if (answer instanceof Response) return answer
  return Response.json(path.endsWith('/me') ? [refusal] : refusal, { status: 401 })
}

function open(options: Pick<AuthClientOptions, 'onStepUp' | 'initial'> = {}): void {
  auth = createAuthClient({ baseUrl, storage, fetch, ...options })
}

beforeEach(() => {
  calls = []
  hasLostLogin = false
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

test('authLink sends calls of two users in two batches, each with the token of its user', async () => {
  open()
  await signIn(ann)
  const tokens = [await tokenOf(ann)]
  const api = createTRPCClient<AppRouter>({ links: [authLink(auth)] })
  const asked: Promise<unknown>[] = []
  // The timer that ends a batch, as in a tab in the background.
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  try {
    asked.push(api.me.query().catch(reasonOf))
    await settled()
    await signIn(bob)
    tokens.push(await tokenOf(bob))
    asked.push(api.me.query().catch(reasonOf))
    await settled()
    expect(calls).toEqual([])
    await vi.advanceTimersByTimeAsync(1_000)
    expect(calls.slice(0, 2)).toEqual(tokens)
  } finally {
    vi.useRealTimers()
  }
  expect(await Promise.all(asked)).toEqual(['access_token_expired', 'access_token_expired'])
  expect(calls.filter((token) => token === tokens[0])).toHaveLength(1)
})

test('auth.fetch with onStepUp does not wait for its code, and so not for the next user', async () => {
  const file = '../../client/lifecycle/step-up.ts'
  let load = () => {}
  const loading = new Promise<void>((resolve) => (load = resolve))
  vi.doMock(file, (original) => loading.then(original))
  try {
    open({ onStepUp: async () => true })
    await signIn(ann)
    const own = await tokenOf(ann)
    onLogin = () => vi.waitFor(() => expect(calls).toEqual([own]))
    onCall = () => signingIn
    const post = auth.fetch('/trpc/orders', { method: 'POST' })
    const signingIn = signIn(bob)
    await signingIn
    load()
    expect((await post).status).toBe(401)
    expect(calls).toEqual([own])
  } finally {
    vi.doUnmock(file)
  }
})

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

describe('a sign-in of this tab, while another tab signs in', () => {
  let answer: () => void
  let pending: Promise<unknown>

  beforeEach(async () => {
    vi.stubGlobal('navigator', {})
    const opened = () => createAuthClient({ baseUrl, transport: 'cookie', fetch })
    const other = opened()
    auth = opened()
    // As a page is before anyone has signed in: the refusal of a sign-in alone would change nothing.
    await auth.restore()
    await auth.logout()
    const answered = new Promise<void>((resolve) => (answer = resolve))
    const isSent = vi.fn<() => Promise<void>>(() => answered)
    onLogin = isSent
    pending = signIn(bob).catch((error: unknown) => error)
    await vi.waitUntil(() => isSent.mock.calls.length > 0)
    onLogin = () => {}
    const heard = vi.fn<(message: object) => void>()
    const channel = openTabChannel(`token-ledger ${baseUrl}`, heard)
    await other.login({ email: ann.email, password: 'correct horse battery' })
    await vi.waitUntil(() => heard.mock.calls.length > 0)
    await settled()
    channel?.close()
    other.dispose()
  })
  afterEach(() => vi.unstubAllGlobals())

  test('counts, because it is the later one', async () => {
    answer()
    expect(await pending).toMatchObject({ user: bob })
    expect(auth.session).toMatchObject({ user: bob })
  })

  test('that fails gives way to it', async () => {
    hasLostLogin = true
    answer()
    expect(await pending).toMatchObject({ reason: 'network_error' })
    await vi.waitFor(() => expect(auth.session).toMatchObject({ user: ann }))
  })
})

test('a subscription that waits for its first token is not sent with the token of another user', async () => {
  open()
  await signIn(ann)
  auth.dispose()
  open({ initial: { user: { ...ann, role: 'user' } } })
  onRefresh = () => signIn(bob)
  expect(await failureOfTail()).toBe('superseded')
  expect(calls).toEqual([])
})

test('a subscription that tRPC opens anew is not sent with the token of another user', async () => {
  open()
  await signIn(ann)
  const own = await tokenOf(ann)
  onCall = async () => {
    if (calls.length > 1) return undefined
    setTimeout(() => void signIn(bob), 0)
    const connected = 'event: connected\ndata: {"reconnectAfterInactivityMs":300}\n\n'
    const body = new ReadableStream({
      start: (stream) => stream.enqueue(new TextEncoder().encode(connected)),
    })
    return new Response(body, { headers: { 'content-type': 'text/event-stream' } })
  }
  expect(await failureOfTail()).toBe('superseded')
  expect(calls).toEqual([own])
})

test('a subscription does not go on with the token of another user, who has signed in meanwhile', async () => {
  open()
  await signIn(ann)
  const own = await tokenOf(ann)
  onCall = async () => {
    await signIn(bob)
    throw new TypeError('the line is cut')
  }
  expect(await failureOfTail()).toBe('superseded')
  expect(calls).toEqual([own])
})

/** Why a subscription ends. */
async function failureOfTail(): Promise<unknown> {
  const link = authSubscriptionLink<AppRouter>(auth)
  const client = createTRPCClient<AppRouter>({ links: [link] })
  const error = await new Promise((resolve) =>
    client.admin.ledger.tail.subscribe(undefined, { onError: resolve }),
  )
  return reasonOf(error)
}

/** Until all that waits for no timer and no network has been done. */
async function settled(): Promise<void> {
  for (let turns = 0; turns < 20; turns += 1) await new Promise((resolve) => setImmediate(resolve))
}
