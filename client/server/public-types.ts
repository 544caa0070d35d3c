import type { Credentials, Fetch, User } from '../auth-api.ts'
import type { SignIn } from '../public-types.ts'
import type { DefinitiveReason } from '../errors.ts'
import type { Problem } from '../session.ts'

export type ServerSessionOptions = {
  /** The service's URL, without a path: `https://auth.example.com`. */
  readonly baseUrl: string
  readonly cookie: {
    /**
     * Encrypts the cookie; at least 32 random characters. Of a list, the first encrypts and all decrypt: to replace a
     * secret, first add the new one at the end in every process, then move it to the front, then remove the old one.
     */
    readonly secret: string | readonly string[]
    /** `__Host-session` unless given, which no other host of the site can set. */
    readonly name?: string
    /** False for development on plain http, with a name without `__Host-`. */
    readonly secure?: boolean
  }
  /**
   * The address of the person, from a header that your own proxy sets. Without it, the limits of the service count all
   * visitors as one, and the ledger has the address of the app's server.
   */
  readonly addressOf?: (request: Incoming) => string | null
  /** Used instead of the global `fetch`. */
  readonly fetch?: Fetch
}

/** A `Request`, or the headers of one. */
export type Incoming = { readonly headers: { get(name: string): string | null } }

export type ServerSession = {
  /**
   * The session of the visitor, with an access token that lasts. Rotates when a quarter of the token's life is left,
   * so its `setCookies` have to reach the browser. Does not reject when the service cannot be reached.
   *
   * @param options.readOnly For places that cannot set cookies, such as a component that is being rendered: the token
   * of the cookie as long as it is valid, and otherwise `unknown`.
   * @param options.check Asks the service whether it still accepts an access token that lasts, and rotates if not. A
   * session that was ended elsewhere is then noticed at once. For an act that matters, and after a 401 of an API.
   */
  from(
    request: Incoming,
    options?: { readonly readOnly?: boolean; readonly check?: boolean },
  ): Promise<Current>
  /** Signs in. Rejects with the `AuthClientError` of the service, such as `invalid_credentials`. */
  signIn(request: Incoming, input: SignIn): Promise<CurrentSignedIn>
  /** Creates an account and signs in. */
  register(request: Incoming, input: Credentials): Promise<CurrentSignedIn>
  /** Ends the session on the service, and clears the cookie also when the service cannot be reached. */
  signOut(request: Incoming, options?: { readonly everywhere?: boolean }): Promise<SignOut>
  /**
   * Answers `createAuthClient` of the app's own pages at `/auth/login`, `register`, `refresh` and `logout` of the app's
   * origin. Only requests of that origin are answered.
   */
  handle(request: Request): Promise<Response>
  /** Adds the cookies, and `Cache-Control: private, no-store`, so that no cache gives the answer to another person. */
  apply<Answer extends Response>(
    response: Answer,
    session: { readonly setCookies: readonly string[] },
  ): Answer
}

/** The session at one request. `unknown`: show neither the page nor a sign-in form, but "try again". */
export type Current = CurrentSignedIn | CurrentSignedOut | CurrentUnknown

type Cookies = {
  /** Values of `Set-Cookie` for the answer; empty when nothing has changed. */
  readonly setCookies: readonly string[]
  /** The `Cookie` header as the browser will send it next, for the code that renders this request. */
  readonly cookieHeader: string
}

export type CurrentSignedIn = Cookies & {
  readonly status: 'signed-in'
  readonly user: User
  /** For calls of this request. Do not store it or send it to the page. */
  readonly accessToken: string
  /** Epoch milliseconds. */
  readonly accessTokenExpiresAt: number
  readonly familyId: string
  /** ISO, by the service's clock. */
  readonly refreshExpiresAt: string
}

export type CurrentSignedOut = Cookies & {
  readonly status: 'signed-out'
  readonly user: null
  readonly accessToken: null
  /** `refresh_token_missing`: there is no cookie, or none that a secret opens. */
  readonly reason: DefinitiveReason
  readonly incidentId: string | null
}

export type CurrentUnknown = Cookies & {
  readonly status: 'unknown'
  readonly user: null
  readonly accessToken: null
  /** Why the session could not be refreshed; null when it was `readOnly`. */
  readonly problem: Problem | null
}

export type SignOut = {
  /** Whether the service has confirmed it. If not, the session ends when its refresh token expires. */
  readonly isConfirmed: boolean
  /** Number of sessions that the service ended. */
  readonly revoked: number
  readonly setCookies: readonly string[]
}
