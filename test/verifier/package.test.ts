import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { TRPC_ERROR_CODES_BY_KEY } from '@trpc/server/unstable-core-do-not-import'
import { build } from 'esbuild'
import { expect, expectTypeOf, test } from 'vitest'
import { authErrors } from '../../server/errors.ts'
import { expressVerifier } from '../../server/verifier/express.ts'
import {
  AccessTokenError,
  failureOf,
  KeysUnavailableError,
  RevocationsUnavailableError,
} from '../../server/verifier/index.ts'
import { verifierOf } from '../../server/verifier/verifier.ts'
import type { AccessTokenClaims } from '../../server/verifier/index.ts'

test('at run time the verifier needs jose and nothing else', async () => {
  const { metafile } = await build({
    entryPoints: ['server/verifier/index.ts'],
    bundle: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
    write: false,
    metafile: true,
  })
  const files = Object.values(metafile.inputs)
  const needed = files.flatMap(({ imports }) => imports).filter(({ external }) => external)
  expect([...new Set(needed.map((found) => found.path))]).toEqual(['jose'])
  const own = Object.keys(metafile.inputs)
  expect(own.every((file) => /^server\/verifier(\.ts|\/)/.test(file))).toBe(true)
})

test.each([
  'access_token_missing',
  'access_token_invalid',
  'access_token_expired',
  'access_token_revoked',
] as const)(
  'a service answers %s with the message and the numbers of token-ledger itself',
  (reason) => {
    const failure = failureOf(new AccessTokenError(reason, 'private'))!
    expect(JSON.parse(failure.body)).toEqual({
      error: {
        message: authErrors[reason].message,
        code: TRPC_ERROR_CODES_BY_KEY[authErrors[reason].trpc],
        data: { code: authErrors[reason].trpc, httpStatus: 401, reason },
      },
    })
  },
)

test.each([
  ['the keys', KeysUnavailableError, 5],
  ['the feed', RevocationsUnavailableError, 1],
] as const)(
  'without %s a service answers service_unavailable and hides the cause',
  (_what, UnavailableError, retryAfterSeconds) => {
    const failure = failureOf(new UnavailableError(new Error('connect 10.0.0.1')))!
    expect(failure.headers).toMatchObject({ 'Retry-After': String(retryAfterSeconds) })
    expect(JSON.parse(failure.body)).toEqual({
      error: {
        message: authErrors.service_unavailable.message,
        code: TRPC_ERROR_CODES_BY_KEY[authErrors.service_unavailable.trpc],
        data: {
          code: authErrors.service_unavailable.trpc,
          httpStatus: 503,
          reason: 'service_unavailable',
          retryAfterSeconds,
        },
      },
    })
  },
)

test('the verifier makes no answer for an error that is not about a token', () => {
  expect(failureOf(new Error('disk full'))).toBeNull()
  expect(failureOf('text')).toBeNull()
  expect(failureOf(undefined)).toBeNull()
})

/** The shape of Express 4 and 5's `RequestHandler`, whose types this project does not install. */
type ExpressRequest = IncomingMessage & Express.Request & { params: Record<string, string> }
type ExpressResponse = ServerResponse & { json(body: unknown): ExpressResponse }
type ExpressNext = (error?: unknown) => void
type RequestHandler = (
  request: ExpressRequest,
  response: ExpressResponse,
  next: ExpressNext,
) => unknown
type ExpressApp = { use(...handlers: RequestHandler[]): void }

test('the middleware fits app.use of Express and typed handlers behind it', () => {
  const guard = expressVerifier(verifierOf(() => new Uint8Array(), { issuer: 'i', audience: 'a' }))
  const app: ExpressApp = { use: () => {} }
  app.use(guard, (request, response) => response.json(request.accessToken?.email))
  expectTypeOf(guard).toExtend<RequestHandler>()
  expectTypeOf<ExpressRequest['accessToken']>().toEqualTypeOf<AccessTokenClaims | undefined>()
  expect(createServer((request, response) => guard(request, response, () => {}))).toBeDefined()
})
