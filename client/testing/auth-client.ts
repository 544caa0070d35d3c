import {
  createAuthClient,
  memoryStorage,
  type AuthClient,
  type AuthClientOptions,
  type TokenStorage,
} from '../index.ts'
import { createFakeService, type FakeService, type FakeServiceOptions } from './service.ts'

export type FakeAuthClientOptions = FakeServiceOptions & {
  /** `https://auth.example.test` unless given. Nothing is sent to it. */
  readonly baseUrl?: string
  /** As for `createAuthClient`. */
  readonly origins?: AuthClientOptions['origins']
  readonly onStepUp?: AuthClientOptions['onStepUp']
  /** Answers the requests of `auth.fetch` to `origins`; without it they fail. */
  readonly fetch?: typeof globalThis.fetch
}

export type FakeAuthClient = AuthClient & {
  /** The service that the client talks to: signs in and out, refuses, and is unreachable at a test's word. */
  readonly service: FakeService
}

/**
 * The client of `createAuthClient` itself, in front of a service in memory: no network, and the states of the real one.
 * As on a page, the session is `unknown` until `restore`.
 *
 * @example
 * const auth = fakeAuthClient({ user: { id: '1', email: 'ada@example.com', role: 'user' } })
 * await auth.restore() // signed-in
 * auth.service.endSession()
 * await auth.refresh().catch(() => {}) // signed-out, session_revoked
 */
export function fakeAuthClient(options: FakeAuthClientOptions = {}): FakeAuthClient {
  const { baseUrl = 'https://auth.example.test', origins, onStepUp } = options
  const service = createFakeService(options)
  const { origin } = new URL(baseUrl)

  const auth = createAuthClient({
    baseUrl,
    ...(origins !== undefined && { origins }),
    ...(onStepUp !== undefined && { onStepUp }),
    transport: 'body',
    storage: openedStorage(),
    fetch: async (input: RequestInfo | URL, init?: RequestInit) => {
      const url = typeof input === 'object' && 'url' in input ? input.url : String(input)
      // Without the signal: that of jsdom does not fit into a `Request` of Node.
      if (new URL(url).origin === origin)
        return service.answer(new Request(input, { ...init, signal: null }))
      if (options.fetch === undefined)
        throw new TypeError(`the option "fetch" answers requests such as that to ${url}`)
      return options.fetch(input, init)
    },
  })
  // The client's `session` is a getter, which a copy of the object would read once.
  return Object.defineProperty(auth, 'service', { value: service }) as FakeAuthClient
}

/** In memory, with something to restore: whether there is a session is for the service to say. */
function openedStorage(): TokenStorage {
  const storage = memoryStorage()
  void storage.swap(null, JSON.stringify({ refreshToken: 'fake-refresh-token' }))
  return storage
}
