import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createTRPCClient } from '@trpc/client'
import { initTRPC, TRPCError } from '@trpc/server'
import { createHTTPServer } from '@trpc/server/adapters/standalone'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { fakeAuthClient, startTestIssuer, type StartedIssuer } from '../../client/testing/index.ts'
import { authLink, reasonOf } from '../../client/trpc.ts'
import type { AuthClientOptions } from '../../client/index.ts'
import { createVerifier, failureResponse, verifyRequest } from '../../server/verifier/index.ts'
import type { CreatedVerifier } from '../../server/verifier/index.ts'
import {
  errorFormatter,
  trpcVerifier,
  type AccessTokenContext,
} from '../../server/verifier/trpc.ts'

const user = { id: crypto.randomUUID(), email: 'ada@example.com', role: 'user' as const }
const hourMs = 3600 * 1000

const t = initTRPC.context<AccessTokenContext>().create({ errorFormatter })
const router = t.router({
  pay: t.procedure.mutation(async ({ ctx }) => {
    await ctx.readAccessToken({ maxAuthAgeSeconds: 600 })
    return (payments += 1)
  }),
})

let issuer: StartedIssuer
let verifier: CreatedVerifier
let url = ''
let payments = 0
/** Tokens that the API refuses as expired, once each. */
let refusals = 0
const stop: (() => unknown)[] = []

beforeAll(async () => {
  issuer = await startTestIssuer()
  verifier = createVerifier(issuer)
  const { createContext, responseMeta } = trpcVerifier(verifier, TRPCError)
  const server = createHTTPServer({ router, createContext, responseMeta }).listen(0, '127.0.0.1')
  stop.push(() => server.close())
  await once(server, 'listening')
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
beforeEach(() => {
  payments = 0
  refusals = 0
})
afterAll(async () => {
  for (const each of stop) each()
  await issuer?.close()
})

const asks = [
  ['authLink', (auth: Auth) => trpcOf(auth).pay.mutate()],
  ['auth.fetch', (auth: Auth) => payByFetch(auth)],
] as const

test.each(asks)(
  '%s asks the hook once for calls that are refused together, and repeats each once',
  async (_name, pay) => {
    const asked: unknown[] = []
    const auth = await signedInLongAgo(async (what) => {
      asked.push(what)
      await auth.reauthenticate({ password: 'right' })
      return true
    })
    const done = await Promise.all([pay(auth), pay(auth), pay(auth)])
    expect(done.toSorted()).toEqual([1, 2, 3])
    expect(asked).toEqual([{ maxAgeSeconds: 600 }])
    // The user is asked again only when the authentication is too long ago again.
    expect(await pay(auth)).toBe(4)
    expect(asked).toHaveLength(1)
  },
)

test.each(asks)(
  '%s hands the refusal on without the hook and where it declines, and the session stays',
  async (_name, pay) => {
    for (const onStepUp of [undefined, async () => false]) {
      const auth = await signedInLongAgo(onStepUp)
      const error: unknown = await pay(auth).catch((cause: unknown) => cause)
      expect(reasonOf(error)).toBe('step_up_required')
      expect(auth.session.status).toBe('signed-in')
    }
    expect(payments).toBe(0)
  },
)

test.each(asks)('%s repeats a call once even if the hook claims a success', async (_name, pay) => {
  let runs = 0
  const auth = await signedInLongAgo(async () => (runs += 1) > 0)
  expect(reasonOf(await pay(auth).catch((cause: unknown) => cause))).toBe('step_up_required')
  expect(runs).toBe(1)
})

test.each(asks)(
  '%s repeats no call of a user with the token of another, who has signed in meanwhile',
  async (_name, pay) => {
    const auth = await signedInLongAgo(async () => {
      await auth.login({ email: 'grace@example.com', password: 'right' })
      return true
    })
    expect(reasonOf(await pay(auth).catch((cause: unknown) => cause))).toBe('step_up_required')
    expect(payments).toBe(0)
    expect(auth.session).toMatchObject({ user: { email: 'grace@example.com' } })
  },
)

test.each(asks)('%s rejects with what the hook throws', async (_name, pay) => {
  const auth = await signedInLongAgo(async () => {
    throw new Error('the dialog is broken')
  })
  await expect(pay(auth)).rejects.toThrow('the dialog is broken')
  expect(auth.session.status).toBe('signed-in')
})

test('a token that is refused first and found too old then is renewed, and its user asked', async () => {
  refusals = 1
  let runs = 0
  const auth = await signedInLongAgo(async () => {
    runs += 1
    await auth.reauthenticate({ password: 'right' })
    return true
  })
  expect(await payByFetch(auth)).toBe(1)
  expect(runs).toBe(1)
})

test('a call that was on its way while the user authenticated again does not ask once more', async () => {
  let runs = 0
  const auth = await signedInLongAgo(async () => (runs += 1) > 0)
  const calledAt = performance.now()
  await auth.reauthenticate({ password: 'right' })
  expect(await auth.stepUp({ maxAgeSeconds: 600, calledAt })).toBe(true)
  expect(runs).toBe(0)
})

test('a wrong password is the error of reauthenticate, and signs nobody out', async () => {
  const auth = await signedInLongAgo()
  auth.service.refuseNext('invalid_credentials')
  await expect(auth.reauthenticate({ password: 'wrong' })).rejects.toMatchObject({
    reason: 'invalid_credentials',
  })
  expect(auth.session.status).toBe('signed-in')
})

type Auth = Awaited<ReturnType<typeof signedInLongAgo>>

/** With the API of the test behind `auth.fetch`. */
async function signedInLongAgo(onStepUp?: AuthClientOptions['onStepUp']) {
  const auth = fakeAuthClient({
    user,
    issuer,
    authenticatedAt: Date.now() - hourMs,
    origins: [url, 'https://shop.example.test'],
    ...(onStepUp !== undefined && { onStepUp }),
    fetch: async (input, init) => {
      const request = new Request(input, init)
      return new URL(request.url).origin === url ? fetch(request) : answerOfShop(request)
    },
  })
  stop.push(() => auth.dispose())
  await auth.restore()
  return auth
}

function trpcOf(auth: Auth) {
  return createTRPCClient<typeof router>({ links: [authLink(auth, { url })] })
}

async function payByFetch(auth: Auth): Promise<unknown> {
  const request = new Request('https://shop.example.test/pay', { method: 'POST', body: 'a book' })
  const response = await auth.fetch(request)
  const body = (await response.json()) as { error?: { data: object }; payments: number }
  if (body.error !== undefined) throw Object.assign(new Error('refused'), body.error)
  return body.payments
}

async function answerOfShop(request: Request): Promise<Response> {
  try {
    if ((refusals -= 1) >= 0) return Response.json({}, { status: 401, headers: refused })
    await verifyRequest(verifier, request, { maxAuthAgeSeconds: 600 })
    expect(await request.text()).toBe('a book')
    return Response.json({ payments: (payments += 1) })
  } catch (error) {
    return failureResponse(error) ?? Response.error()
  }
}

const refused = { 'www-authenticate': 'Bearer error="invalid_token"' }
