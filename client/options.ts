import type { Fetch } from './auth-api.ts'
import { AuthClientError } from './errors.ts'
import type { TokenStorage } from './storage.ts'

export type AuthClientOptions = {
  /** Where the service is, without a path: `https://auth.example.com`. A page may leave it to its own origin. */
  readonly baseUrl?: string
  /** `cookie` (browsers) unless a `storage` is given; `body` for native apps and tools. */
  readonly transport?: 'cookie' | 'body'
  /** For `body`: where the refresh token is kept; in memory unless given. */
  readonly storage?: TokenStorage
  /** Other origins that may see the access token, such as an API of yours that verifies it. */
  readonly origins?: readonly string[]
  /** Instead of the global `fetch`. */
  readonly fetch?: Fetch
}

export type Settings = {
  readonly baseUrl: string
  readonly transport: 'cookie' | 'body'
  readonly fetch: Fetch
  /** @throws {AuthClientError} `origin_not_configured` */
  resolve(url: string | URL): string
}

/** @throws {TypeError} for options that contradict each other, or no URL */
export function readOptions(options: AuthClientOptions): Settings {
  const page = globalThis.location?.origin
  const base = new URL(options.baseUrl ?? page ?? '', page)
  const transport = options.transport ?? (options.storage ? 'body' : 'cookie')
  if (transport === 'cookie' && options.storage)
    throw new TypeError('storage is for the transport body: a browser keeps its cookie itself')
  const origins = new Set([
    base.origin,
    ...(options.origins ?? []).map((url) => new URL(url).origin),
  ])
  return {
    baseUrl: base.href.replace(/\/+$/, ''),
    transport,
    // Called as a method of `options`, the browser's own would throw "Illegal invocation".
    fetch: options.fetch ?? ((url, init) => globalThis.fetch(url, init)),
    resolve(url) {
      const target = new URL(url, page ?? base)
      if (!origins.has(target.origin))
        throw new AuthClientError('origin_not_configured', {
          message: `The access token does not go to ${target.origin}: name it in origins.`,
        })
      return target.href
    },
  }
}
