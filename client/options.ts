import type { Fetch, User } from './auth-api.ts'
import { AuthClientError } from './errors.ts'
import type { TokenStorage } from './storage.ts'
import { locate, originOf } from './urls.ts'

export type AuthClientOptions = {
  /** The service's URL, without a path: `https://auth.example.com`. The page's own origin unless given. */
  readonly baseUrl?: string
  /**
   * `cookie` for web pages, `body` for native apps and tools. By default `cookie` on a page with an http origin and
   * without a `storage`, otherwise `body`.
   */
  readonly transport?: 'cookie' | 'body'
  /** For `body`: where the refresh token is stored. Unless given it is in memory, and lasts as long as the client. */
  readonly storage?: TokenStorage
  /**
   * Whether to take up a session that was not begun by a page of this origin, for `cookie` in browsers. By default the
   * client does not: another host of the same site can set a cookie, and sign a visitor in as its own user. `true` for
   * pages that share the sign-in of another origin; a date for sessions that began before it.
   */
  readonly adoptForeignSession?: boolean | Date
  /**
   * For `cookie`: the domain of several apps that share one service, such as `example.com`. Their pages then share the
   * session, and the notes of the client, which are in cookies of the domain instead of `localStorage`. Every host of
   * the domain has to be trusted.
   */
  readonly site?: string
  /** Further origins that an access token may be sent to, such as an API that verifies it. */
  readonly origins?: readonly (string | OriginOfAudience)[]
  /**
   * Called when a call needs a more recent authentication (401 `step_up_required`): ask the user, call
   * `reauthenticate`, and resolve with true once it has succeeded. The call is then repeated once. Calls that are refused
   * at the same time share one run. Without it, or when it resolves with false, the call fails with `step_up_required`;
   * the session stays.
   */
  readonly onStepUp?: (asked: StepUp) => Promise<boolean>
  /** Used instead of the global `fetch`. */
  readonly fetch?: Fetch
  /**
   * The user whom the server has found, for a first paint without a spinner. The session begins as signed in, and
   * `restore` asks the service whether it is. Other fields of the session are empty until then.
   */
  readonly initial?: { readonly user: User }
}

/** What a call asks for. */
export type StepUp = {
  /** How long ago the user may have authenticated. */
  readonly maxAgeSeconds: number
}

/** An origin that gets access tokens of its own, which the service itself does not accept. */
export type OriginOfAudience = {
  readonly origin: string
  /** One of the service's `ACCESS_TOKEN_AUDIENCES`. */
  readonly audience: string
}

/** A URL that may get an access token, and for which audience; undefined for the service's own. */
export type Target = { readonly href: string; readonly audience: string | undefined }

export type Settings = {
  readonly baseUrl: string
  readonly transport: 'cookie' | 'body'
  readonly adoptForeignSession: boolean | Date
  readonly site: string | undefined
  readonly fetch: Fetch
  /** Resolves a URL that may get an access token. @throws {AuthClientError} `origin_not_configured` */
  resolve(url: string | URL): Target
}

/** @throws {TypeError} for options that contradict each other, for an invalid URL, and without `crypto` */
export function readOptions(options: AuthClientOptions): Settings {
  if (typeof globalThis.crypto?.getRandomValues !== 'function')
    throw new TypeError(
      'crypto.getRandomValues is missing: in React Native, import "react-native-get-random-values" first.',
    )
  const own = globalThis.location?.origin
  // A sandboxed page has the origin "null", and that of an app or an extension is no base for https.
  const page = /^https?:/.test(own) ? own : undefined
  const given = options.baseUrl ?? page
  if (given === undefined)
    throw new TypeError(
      'baseUrl is missing: outside of a web page, pass the service\'s origin, such as "https://auth.example.com".',
    )
  const baseUrl = originOf('baseUrl', { text: given, base: page })
  const transport = options.transport ?? (options.storage || page === undefined ? 'body' : 'cookie')
  if (transport === 'cookie' && options.storage)
    throw new TypeError(
      'storage: only for transport "body"; with "cookie" the browser stores the token',
    )
  const audiences = new Map<string, string | undefined>([[baseUrl, undefined]])
  for (const entry of options.origins ?? []) {
    const { origin: text, audience } =
      typeof entry === 'string' ? { origin: entry, audience: undefined } : entry
    const origin = originOf('origins', { text, mayHavePath: true })
    if (audiences.has(origin) && audiences.get(origin) !== audience)
      throw new TypeError(`origins: two audiences for ${origin}`)
    audiences.set(origin, audience)
  }
  return {
    baseUrl,
    transport,
    adoptForeignSession: options.adoptForeignSession ?? false,
    site: siteOf(options, transport),
    // Not `options.fetch` as a method: the browser's `fetch` would throw "Illegal invocation".
    fetch: options.fetch ?? ((input, init) => globalThis.fetch(input, init)),
    resolve(url) {
      const { href, origin } = locate(String(url), page ?? baseUrl)
      if (!audiences.has(origin))
        throw new AuthClientError('origin_not_configured', {
          message: `The access token is not sent to ${origin}. To allow it, add it to "origins".`,
        })
      return { href, audience: audiences.get(origin) }
    },
  }
}

function siteOf({ site }: AuthClientOptions, transport: Settings['transport']): string | undefined {
  if (site === undefined) return undefined
  if (transport === 'body')
    throw new TypeError('site: only for transport "cookie"; with "body" the storage is shared')
  const host = globalThis.location?.hostname
  if (host !== undefined && !`.${host}`.endsWith(`.${site}`))
    throw new TypeError(
      `site: ${host} is not a host of ${site}; give the domain of all apps, such as example.com`,
    )
  return site
}
