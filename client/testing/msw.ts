/**
 * `@token-ledger/testing/msw`: a token-ledger service for Mock Service Worker, which must be installed.
 *
 * @module
 */
import { http, type HttpHandler } from 'msw'
import { createFakeService, type FakeService, type FakeServiceOptions } from './service.ts'

/**
 * Handlers for the service at `baseUrl`: sign-in, refresh, sign-out, `me`, the exchange of tokens and the keys.
 *
 * @param options.service One of `createFakeService`, for a test that signs out from elsewhere or refuses a call.
 * @example
 * const server = setupServer(...handlers({ baseUrl: 'https://auth.example.com', user }))
 */
export function handlers(
  options: FakeServiceOptions & { readonly baseUrl: string; readonly service?: FakeService },
): HttpHandler[] {
  const { baseUrl, service = createFakeService(options) } = options
  return ['/auth/*', '/trpc/*', '/.well-known/jwks.json'].map((path) =>
    http.all(new URL(path, baseUrl).href, ({ request }) => service.answer(request)),
  )
}
