import { browser } from '$app/environment'
import { createAuthClient, type AuthClient, type User } from '@token-ledger/client'

let inBrowser: AuthClient | undefined

/** One client for the page; on the server one for each request, because users must not share it. */
export function clientFor(user: User | null): AuthClient {
  const make = () =>
    createAuthClient({
      // Never asked on the server, where nothing is restored.
      baseUrl: browser ? location.origin : 'http://localhost',
      transport: 'cookie',
      // The cookie is the app's own.
      adoptForeignSession: true,
      ...(user !== null && { initial: { user } }),
    })
  return browser ? (inBrowser ??= make()) : make()
}
