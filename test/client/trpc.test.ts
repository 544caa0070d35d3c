import { createTRPCClient, splitLink, TRPCClientError } from '@trpc/client'
import { initTRPC } from '@trpc/server'
import { createHTTPServer } from '@trpc/server/adapters/standalone'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import superjson from 'superjson'
import { afterAll, beforeAll, expect, expectTypeOf, test } from 'vitest'
import { createAuthClient, type AuthClient } from '../../client/index.ts'
import { authLink, authSubscriptionLink, reasonOf, type AppRouter } from '../../client/trpc.ts'
import { startApp, type TestApp } from '../support/app.ts'
import { waitForLiveTail } from '../support/tail.ts'
import { makeUser, testPassword } from '../support/users.ts'

const shop = initTRPC.create({ transformer: superjson })
const shopRouter = shop.router({
  soonest: shop.procedure
    .input((value) => value as { after: Date })
    .query(({ input }) => new Date(input.after.getTime() + 1)),
  ticks: shop.procedure.subscription(async function* () {
    yield { at: new Date(0) }
  }),
})
type ShopRouter = typeof shopRouter

let app: TestApp
let shopUrl: string
let admin: AuthClient
const closing: (() => void)[] = []

beforeAll(async () => {
  app = await startApp({ ACCESS_TOKEN_SECONDS: '2' })
  const server = createHTTPServer({ router: shopRouter }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  shopUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  closing.push(() => (server.closeAllConnections(), server.close()))
  admin = await signedIn('admin')
})
afterAll(async () => {
  for (const close of closing) close()
  await app[Symbol.asyncDispose]()
})

test('a router with a transformer needs it by the types, and dates arrive as dates', async () => {
  const client = createTRPCClient<ShopRouter>({
    links: [authLink(admin, { url: shopUrl, transformer: superjson })],
  })
  expect(await client.soonest.query({ after: new Date(41) })).toEqual(new Date(42))
  const wrong = () => [
    // @ts-expect-error the router has a transformer
    authLink<ShopRouter>(admin, { url: shopUrl }),
    // @ts-expect-error the router has a transformer
    authLink<ShopRouter>(admin),
    // @ts-expect-error the router has a transformer
    authSubscriptionLink<ShopRouter>(admin, { url: shopUrl }),
    // @ts-expect-error the router has none
    authLink<AppRouter>(admin, { transformer: superjson }),
    // @ts-expect-error the router has a transformer
    createTRPCClient<ShopRouter>({ links: [authLink(admin, { url: shopUrl })] }),
  ]
  expect(wrong).toBeTypeOf('function')
})

test('a subscription goes through its transformer, and ends where the service ends it', async () => {
  const client = createTRPCClient<ShopRouter>({
    links: [authSubscriptionLink(admin, { url: shopUrl, transformer: superjson })],
  })
  const seen: unknown[] = []
  await new Promise<void>((resolve, reject) => {
    client.ticks.subscribe(undefined, {
      onData: (data) => seen.push(data),
      onComplete: resolve,
      onError: reject,
    })
  })
  expect(seen).toEqual([{ at: new Date(0) }])
})

test('a subscription outlives its access token: each connection has a fresh one and goes on behind the last event', async () => {
  const tokens = new Set<string | null>()
  const ended: string[] = []
  /** Of the connections that were opened after an event had arrived. */
  const lastIds: (string | null)[] = []
  const auth = await signedIn('admin', (input, init) => {
    if ((input as string).includes('admin.ledger.tail')) {
      const headers = new Headers(init?.headers)
      tokens.add(headers.get('authorization'))
      if (ended.length > 0) lastIds.push(headers.get('last-event-id'))
    }
    return fetch(input, init)
  })
  const problems: unknown[] = []
  const subscription = clientOf(auth).admin.ledger.tail.subscribe(
    {},
    {
      onData: ({ data }) => {
        if (data.kind === 'revoked') ended.push(data.familyId)
      },
      onError: (error) => problems.push(error),
    },
  )
  await waitForLiveTail(app.owner)
  const expected: string[] = []
  while (tokens.size < 2 || lastIds.length === 0) {
    const other = await signedIn('user')
    const { familyId } = await other.refresh()
    await other.logout()
    expected.push(familyId)
    await expect.poll(() => ended).toEqual(expected)
  }
  subscription.unsubscribe()
  expect(problems).toEqual([])
  expect(lastIds).not.toContain(null)
}, 60_000)

test('a subscription of a session that was ended fails with the reason', async () => {
  const auth = await signedIn('admin')
  const failed = new Promise((resolve) => {
    clientOf(auth).admin.ledger.tail.subscribe({}, { onError: resolve })
  })
  await waitForLiveTail(app.owner)
  await clientOf(auth).sessions.revoke.mutate({ familyId: familyOf(auth) })
  expect(reasonOf(await failed)).toMatch(/^access_token_(revoked|expired|missing)$/)
  expect(auth.session).toMatchObject({ status: 'signed-out', reason: 'session_revoked' })
})

test('reasonOf names the reason of the service, or of the client', async () => {
  const user = await signedIn('user')
  const refused = await clientOf(user)
    .admin.stats.query(stats)
    .catch((error: unknown) => error)
  expect(reasonOf(refused)).toBe('role_required')

  user.dispose()
  const failed = await clientOf(user)
    .me.query()
    .catch((error: unknown) => error)
  expect(failed).toBeInstanceOf(TRPCClientError)
  expect(reasonOf(failed)).toBe('disposed')
  expectTypeOf(reasonOf(failed)).toExtend<string | null>()
  expect(reasonOf(new Error('another'))).toBeNull()
})

test('a subscription by authLink alone fails in its onError, with the link that it needs', async () => {
  const client = createTRPCClient<AppRouter>({ links: [authLink(admin)] })
  const error = await new Promise<unknown>((resolve) => {
    client.admin.ledger.tail.subscribe({}, { onError: resolve })
  })
  expect(String(error)).toContain('authSubscriptionLink')
})

const stats = { from: '2026-01-01T00:00:00Z', to: '2026-01-02T00:00:00Z', bucket: 'hour' } as const

async function signedIn(role: 'user' | 'admin', ownFetch?: typeof fetch): Promise<AuthClient> {
  const { email } = await makeUser(app.owner.url, undefined, role)
  const auth = createAuthClient({
    baseUrl: app.url,
    transport: 'body',
    origins: [shopUrl],
    ...(ownFetch && { fetch: ownFetch }),
  })
  await auth.login({ email, password: testPassword })
  closing.push(() => auth.dispose())
  return auth
}

function clientOf(auth: AuthClient) {
  return createTRPCClient<AppRouter>({
    links: [
      splitLink({
        condition: ({ type }) => type === 'subscription',
        true: authSubscriptionLink(auth),
        false: authLink(auth),
      }),
    ],
  })
}

function familyOf({ session }: AuthClient): string {
  return session.status === 'signed-in' ? session.familyId : ''
}
