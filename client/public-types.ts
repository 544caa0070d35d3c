import type { Credentials } from './auth-api.ts'
import type { Settings } from './options.ts'
import type { Listener, Session, SignedIn } from './session.ts'

export type SignIn = Credentials & {
  /** Shown in the user's list of sessions; at most 100 characters. */
  readonly deviceName?: string
}

/**
 * One session, as a page or a tool sees it. Make one for each page, app or (on a server) request.
 *
 * What rejects, rejects with an `AuthClientError`; only a definitive reason (`session_*`,
 * `refresh_token_*`) ends the session. Importing and creating it ask nothing and start no timer.
 */
export type AuthClient = {
  /** A new object at each change. */
  readonly session: Session
  /** Calls back at once and at each change. @returns to be called when no longer wanted */
  subscribe(listener: Listener): () => void
  /**
   * For page load: takes up the session there is, if any. Never rejects. While the server cannot be
   * reached it resolves with `unknown` and goes on trying; subscribers hear.
   */
  restore(): Promise<Session>
  /** Rejects with `invalid_credentials`, `too_many_attempts`, …; a session there was stays then. */
  login(input: SignIn): Promise<SignedIn>
  /** Makes an account and signs in. Rejects with `email_taken`, `registration_closed`, `validation_failed`, … */
  register(input: Credentials): Promise<SignedIn>
  /**
   * Signs out here and in the other tabs at once, and tells the server: now, or, when it cannot be
   * reached, as soon as it can, also after a reload. `everywhere` ends the user's every session.
   */
  logout(options?: { everywhere?: boolean }): Promise<LogoutResult>
  /** Refreshes now, which is seldom needed: it happens by itself. Concurrent calls share one. */
  refresh(): Promise<SignedIn>
  /**
   * The access token, refreshed first when it has expired; null when signed out. Do not store it.
   * Rejects when a refresh is needed and cannot be had now; the session stays.
   *
   * @param options.rejected A token that a service has refused: another one is got.
   */
  getAccessToken(options?: { rejected?: string }): Promise<string | null>
  /**
   * `fetch` with the bearer. A 401 for the token's sake is repeated once with a new one.
   *
   * Goes to the origins of `baseUrl` and `origins` alone (else rejects with `origin_not_configured`),
   * and follows no redirect. When the token cannot be renewed now it rejects rather than resolve
   * with a 401.
   */
  readonly fetch: BearerFetch
  /** Ends timers, listeners and requests; the session itself stays, for the next client. */
  dispose(): void
  /** What it was made with. */
  readonly settings: Settings
}

export type LogoutResult = {
  /** Whether the server has been told; it will be otherwise. */
  readonly isConfirmed: boolean
  /** Sessions the server ended; 0 when it was not told yet. */
  readonly revoked: number
}

export type BearerFetch = (url: string | URL, init?: RequestInit) => Promise<Response>
