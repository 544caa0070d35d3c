import { afterEach, expect, expectTypeOf, test } from 'vitest'
import { setupServer } from 'msw/node'
import { createAuthClient, memoryStorage, type AuthClient } from '../../client/index.ts'
import {
  createFakeService,
  createTestIssuer,
  fakeAuthClient,
  type FakeAuthClient,
  type FakeAuthClientOptions,
} from '../../client/testing/index.ts'
import { handlers } from '../../client/testing/msw.ts'

const user = { id: crypto.randomUUID(), email: 'ada@example.com', role: 'user' as const }
const made: AuthClient[] = []
afterEach(() => made.splice(0).forEach((auth) => auth.dispose()))

function fake(options?: FakeAuthClientOptions): FakeAuthClient {
  const auth = fakeAuthClient(options)
  made.push(auth)
  return auth
}

test('a fake client is an auth client, and restores the session of its user without a network', async () => {
  expectTypeOf<FakeAuthClient>().toExtend<AuthClient>()
  const auth = fake({ user })
  expect(auth.session.status).toBe('unknown')
  expect(await auth.restore()).toMatchObject({ status: 'signed-in', user })
  expect(await auth.getAccessToken()).toMatch(/^fake-access-token/)
})

test('a fake client without a user is signed out, signs in by form, and signs out', async () => {
  const auth = fake()
  expect(await auth.restore()).toMatchObject({ status: 'signed-out' })
  const statuses: string[] = []
  auth.subscribe(({ status }) => statuses.push(status))
  await auth.login({ email: 'eve@example.com', password: 'any' })
  expect(auth.session).toMatchObject({ status: 'signed-in', user: { email: 'eve@example.com' } })
  expect(await auth.logout()).toEqual({ isConfirmed: true, revoked: 1 })
  expect(statuses).toEqual(['signed-out', 'signed-in', 'signed-out'])
})

test('a test ends the session of a fake client from elsewhere, refuses a sign-in and cuts the network', async () => {
  const auth = fake({ user })
  await auth.restore()
  auth.service.endSession()
  await expect(auth.refresh()).rejects.toMatchObject({ reason: 'session_revoked' })
  expect(auth.session).toMatchObject({ status: 'signed-out', reason: 'session_revoked' })

  auth.service.refuseNext('invalid_credentials')
  const form = { email: user.email, password: 'any' }
  await expect(auth.login(form)).rejects.toMatchObject({ reason: 'invalid_credentials' })
  auth.service.refuseNext('too_many_attempts')
  await expect(auth.login(form)).rejects.toMatchObject({ reason: 'too_many_attempts' })

  auth.service.isUnreachable = true
  await expect(auth.login(form)).rejects.toMatchObject({ reason: 'network_error' })
  auth.service.isUnreachable = false
  await auth.login(form)
  expect(auth.session.status).toBe('signed-in')
})

test('auth.fetch of a fake client sends its bearer to the answers of the test, and nowhere else', async () => {
  const seen: (string | null)[] = []
  const auth = fake({
    user,
    origins: [{ origin: 'https://api.example.com', audience: 'orders' }],
    issuer: await createTestIssuer({ issuer: 'https://auth.example.test' }),
    fetch: async (_url, init) => {
      seen.push(new Headers(init?.headers).get('authorization'))
      return Response.json({ orders: [] })
    },
  })
  await auth.restore()
  expect(await (await auth.fetch('https://api.example.com/mine')).json()).toEqual({ orders: [] })
  expect(seen).toEqual([`Bearer ${await auth.getAccessToken({ audience: 'orders' })}`])
  await expect(auth.fetch('https://elsewhere.example.com')).rejects.toMatchObject({
    reason: 'origin_not_configured',
  })
})

test('with the handlers for MSW the real client signs in, calls, refreshes and signs out', async () => {
  const baseUrl = 'https://auth.example.com'
  const service = createFakeService({ user })
  const server = setupServer(...handlers({ baseUrl, service }))
  server.listen({ onUnhandledRequest: 'error' })
  try {
    const auth = createAuthClient({ baseUrl, transport: 'body', storage: memoryStorage() })
    made.push(auth)
    await auth.login({ email: user.email, password: 'any' })
    expect(auth.session).toMatchObject({ status: 'signed-in', user })
    const me = await auth.fetch(`${baseUrl}/trpc/me`)
    expect(await me.json()).toMatchObject({ result: { data: { user } } })
    await auth.refresh()
    service.endSession('session_expired')
    await expect(auth.refresh()).rejects.toMatchObject({ reason: 'session_expired' })
  } finally {
    server.close()
  }
})
