import type { Credentials } from './auth-api.ts'
import type { Settings } from './options.ts'
import type { SessionListener, Session, SignedIn } from './session.ts'

export type SignIn = Credentials & {
  /** Shown in the user's list of sessions; at most 100 characters. */
  readonly deviceName?: string
}

/**
 * The session of a page, an app or a tool. Make one client per page or app, or per request on a server.
 *
 * Methods reject with an `AuthClientError`. Only a definitive reason (`session_*`, `refresh_token_*`) ends the
 * session. Creating a client sends no request and starts no timer.
 */
export type AuthClient = {
  /** The current session; a new object at each change. */
  readonly session: Session
  /** The session that the client began with: what a server renders, and a page until it has taken over that markup. */
  readonly initial: Session
  /** Calls `listener` now and at each change. @returns a function that unsubscribes */
  subscribe(listener: SessionListener): () => void
  /**
   * Call it on page load: continues the stored session, if there is one. A cookie's session that no page of this origin
   * began is not taken up (see `adoptForeignSession`). Never rejects. If the server cannot be
   * reached, it resolves with `unknown`, keeps trying, and calls the subscribers once it succeeds.
   */
  restore(): Promise<Session>
  /** Signs in. Rejects with `invalid_credentials`, `too_many_attempts`, …; a previous session then stays. */
  login(input: SignIn): Promise<SignedIn>
  /** Creates an account and signs in. Rejects with `email_taken`, `registration_closed`, `validation_failed`, … */
  register(input: Credentials): Promise<SignedIn>
  /**
   * Signs out this tab and the other tabs at once, and ends the session on the server. If the server cannot be
   * reached, the client repeats the request until it succeeds, also after a reload. `everywhere` ends all
   * sessions of the user.
   */
  logout(options?: { everywhere?: boolean }): Promise<LogoutResult>
  /** Refreshes now. Rarely needed, because the client refreshes by itself. Concurrent calls share one refresh. */
  refresh(): Promise<SignedIn>
  /**
   * The access token, refreshed first if it has expired; null when signed out. Do not store it. Rejects when a
   * refresh is needed and fails for now; the session stays.
   *
   * @param options.audience Another service, for a token that only that service accepts. It is asked for once and
   * kept in memory as long as the client's own.
   * @param options.rejected A token that a service has refused: a different one is returned.
   */
  readonly getAccessToken: GetAccessToken
  /**
   * `fetch` with an access token as bearer. A request that is refused (401) because of the token is repeated
   * once with a new one. If the refresh for it fails, the call rejects.
   *
   * Sends only to the origins of `baseUrl` and `origins`, and otherwise rejects with `origin_not_configured`.
   * It follows no redirects.
   */
  readonly fetch: BearerFetch
  /** Stops timers, listeners and requests. The session itself stays, for the next client. */
  dispose(): void
  /** The options it was made with, with defaults filled in. */
  readonly settings: Settings
}

export type GetAccessToken = (options?: {
  readonly audience?: string | undefined
  readonly rejected?: string | undefined
}) => Promise<string | null>

export type LogoutResult = {
  /** Whether the server has confirmed the sign-out. If not, the client keeps trying. */
  readonly isConfirmed: boolean
  /** Number of sessions that the server ended; 0 while unconfirmed. */
  readonly revoked: number
}

export type BearerFetch = (url: string | URL, init?: RequestInit) => Promise<Response>
