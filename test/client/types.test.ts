import { createTRPCClient } from '@trpc/client'
import type { inferRouterInputs, inferRouterOutputs } from '@trpc/server'
import { build } from 'esbuild'
import { expect, expectTypeOf, test } from 'vitest'
import type { AuthInputs, AuthOutputs } from '../../client/auth-calls.ts'
import { createAuthClient, type AuthClient, type Session } from '../../client/index.ts'
import { authLink, type AppRouter, type AuthRouter } from '../../client/trpc.ts'

const auth = createAuthClient({ baseUrl: 'http://127.0.0.1:1', transport: 'body' })
const trpc = createTRPCClient<AppRouter>({ links: [authLink(auth)] })

test('calls are typed from the server to the page, and wrong ones do not compile', () => {
  expectTypeOf(trpc.me.query).returns.resolves.toHaveProperty('user')
  expectTypeOf(trpc.sessions.revoke.mutate).parameter(0).toEqualTypeOf<{ familyId: string }>()
  expectTypeOf<AuthClient['session']>().toEqualTypeOf<Session>()
  const wrong = () => {
    // @ts-expect-error a number is not a family id
    void trpc.sessions.revoke.mutate({ familyId: 1 })
    // @ts-expect-error `me` is a query, not a mutation
    void trpc.me.mutate()
    // @ts-expect-error an unknown procedure
    void trpc.nobody.query()
    // @ts-expect-error without a password
    void auth.login({ email: 'a@example.com' })
    // @ts-expect-error an unknown transport
    createAuthClient({ transport: 'header' })
    // @ts-expect-error an origin without its audience
    createAuthClient({ origins: [{ origin: 'https://orders.example.com' }] })
    // @ts-expect-error a signed-out session has no user
    if (auth.session.status === 'signed-out') return auth.session.user
    return null
  }
  expect(wrong).toBeTypeOf('function')
})

test('the calls to /auth are typed in the client as the service defines them', () => {
  // `sessions` is for services: it needs SIGN_IN_TOKEN.
  expectTypeOf<AuthInputs>().toEqualTypeOf<Omit<inferRouterInputs<AuthRouter>, 'sessions'>>()
  expectTypeOf<AuthOutputs>().toEqualTypeOf<Omit<inferRouterOutputs<AuthRouter>, 'sessions'>>()
})

test.each([
  ['client/index.ts', []],
  ['client/trpc.ts', ['@trpc/client']],
])('a bundle of %s for browsers needs %j and nothing else', async (entry, packages) => {
  const { metafile } = await build({
    entryPoints: [entry],
    bundle: true,
    packages: 'external',
    platform: 'browser',
    format: 'esm',
    write: false,
    metafile: true,
  })
  const files = Object.keys(metafile.inputs)
  expect(files.filter((file) => !file.startsWith('client/'))).toEqual([])
  expect(files).not.toContain('client/credential/file-store.ts')
  const needed = Object.values(metafile.inputs)
    .flatMap(({ imports }) => imports)
    .filter(({ external }) => external)
  expect([...new Set(needed.map(({ path }) => path))]).toEqual(packages)
})
