import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createTRPCClient, type TRPCClientError } from '@trpc/client'
import { initTRPC, TRPCError } from '@trpc/server'
import { createHTTPServer } from '@trpc/server/adapters/standalone'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { authLink } from '../../client/trpc.ts'
import { fakeAuthClient, startTestIssuer, type StartedIssuer } from '../../client/testing/index.ts'
import {
  AccessTokenError,
  createVerifier,
  KeysUnavailableError,
  type Verifier,
} from '../../server/verifier/index.ts'
import {
  errorFormatter,
  trpcVerifier,
  type AccessTokenContext,
} from '../../server/verifier/trpc.ts'

const user = { id: crypto.randomUUID(), email: 'ada@example.com', role: 'user' as const }

/** A team's own service, whose verifier a test can make refuse. */
const t = initTRPC.context<AccessTokenContext>().create({ errorFormatter })
const signedIn = t.procedure.use(async ({ ctx, next }) =>
  next({ ctx: { accessToken: await ctx.readAccessToken() } }),
)
let runs = 0
const router = t.router({
  mine: signedIn.query(({ ctx }) => ctx.accessToken.email),
  pay: signedIn.mutation(async ({ ctx }) => {
    await ctx.readAccessToken({ maxAuthAgeSeconds: 600 })
    return (runs += 1)
  }),
  add: signedIn.mutation(() => (runs += 1)),
  fail: signedIn.query(() => {
    throw new Error('a bug')
  }),
})

let issuer: StartedIssuer
let refuse: ((token: string) => Error | null) | undefined
let seen: string[] = []
let url = ''
const stop: (() => void)[] = []

beforeAll(async () => {
  issuer = await startTestIssuer()
  const real = createVerifier(issuer)
  const verifier: Verifier = {
    verify: (token) => real.verify(token),
    async verifyAuthorization(authorization, requirements) {
      seen.push(authorization ?? '')
      const refusal = refuse?.(authorization ?? '')
      if (refusal) throw refusal
      return real.verifyAuthorization(authorization, requirements)
    },
  }
  const auth = trpcVerifier(verifier, TRPCError)
  const { createContext, responseMeta } = auth
  const server = createHTTPServer({ router, createContext, responseMeta }).listen(0, '127.0.0.1')
  stop.push(() => server.close())
  await once(server, 'listening')
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(async () => {
  for (const each of stop) each()
  await issuer?.close()
})
beforeEach(() => {
  refuse = undefined
  seen = []
})

test("a bearer that a team's own tRPC service refuses is renewed, and the call is repeated once", async () => {
  const trpc = await signedInClient()
  let first: string | undefined
  refuse = (token) =>
    token === (first ??= token)
      ? new AccessTokenError('access_token_invalid', 'its key is gone')
      : null
  expect(await trpc.mine.query()).toBe(user.email)
  expect(seen).toHaveLength(2)
  expect(new Set(seen).size).toBe(2)
})

test('a mutation whose bearer was refused has not run, so it is repeated and runs once', async () => {
  const trpc = await signedInClient()
  let refusals = 1
  refuse = () => (refusals-- > 0 ? new AccessTokenError('access_token_expired', 'late') : null)
  runs = 0
  expect(await trpc.add.mutate()).toBe(1)
  expect(runs).toBe(1)
})

test('a bearer that is refused again is an error with its reason', async () => {
  const trpc = await signedInClient()
  refuse = () => new AccessTokenError('access_token_revoked', 'the session has ended')
  const error = await errorOf(trpc.mine.query())
  expect(error.data).toMatchObject({ reason: 'access_token_revoked', httpStatus: 401 })
  expect(seen).toHaveLength(2)
})

test('keys that cannot be fetched are no reason to renew: 503 with the time to wait', async () => {
  const trpc = await signedInClient()
  refuse = () => new KeysUnavailableError(new Error('connect 10.0.0.1'))
  const error = await errorOf(trpc.mine.query())
  expect(error.data).toMatchObject({ reason: 'service_unavailable', retryAfterSeconds: 5 })
  expect(JSON.stringify(error.shape)).not.toContain('10.0.0.1')
  expect(seen).toHaveLength(1)
})

test('the formatter adds nothing to an error that is not about a token', async () => {
  const trpc = await signedInClient()
  const error = await errorOf(trpc.fail.query())
  expect(error.data).not.toHaveProperty('reason')
  expect(error.data?.path).toBe('fail')
})

async function signedInClient() {
  const auth = fakeAuthClient({ user, issuer, origins: [url], fetch })
  stop.push(() => auth.dispose())
  await auth.restore()
  return createTRPCClient<typeof router>({ links: [authLink(auth, { url })] })
}

async function errorOf(call: Promise<unknown>): Promise<TRPCClientError<typeof router>> {
  return call.then(
    () => Promise.reject(new Error('the call succeeded')),
    (error: TRPCClientError<typeof router>) => error,
  )
}
