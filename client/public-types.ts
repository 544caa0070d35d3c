import type { Credentials } from './auth-api.ts'
import type { Settings, StepUp } from './options.ts'
import type { SessionListener, Session, SignedIn, UserListener } from './session.ts'

export type SignIn = Credentials & {
  /** Shown in the user's list of sessions; at most 100 characters. */
  readonly deviceName?: string
}

/** What proves that the user is still the same person. */
export type Reauthentication =
  | { readonly password: string; readonly route?: never }
  | {
      /** The name of a route of the team's own below `/auth/`, such as `passkey`. */
      readonly route: string
      /** What that route takes, beside the fields of the attempt that the client adds. */
      readonly [field: string]: unknown
    }

/**
 * The session of a page, an app or a tool. Make one client per page or app, or per request on a server.
 *
 * Methods reject with an `AuthClientError`. Only a definitive reason (`session_*`, `refresh_token_*`) ends the
 * session. Creating a client sends no request, starts no timer and adds no listener: the first call does.
 *
 * @typeParam Claims What the service sends with each user beyond `id`, `email` and `role`. It is not checked.
 */
export type AuthClient<Claims = unknown> = {
  /** The current session; a new object at each change. */
  readonly session: Session<Claims>
  /** The session that the client began with: what a server renders, and a page until it has taken over that markup. */
  readonly initial: Session<Claims>
  /** Calls `listener` now and at each change. @returns a function that unsubscribes */
  subscribe(listener: SessionListener<Claims>): () => void
  /**
   * Calls `listener` when another person is signed in than before (by `user.id`), and with null when none is any more:
   * not at each refresh, and not now. Clear what belongs to the person before. @returns a function that unsubscribes
   */
  onUserChange(listener: UserListener<Claims>): () => void
  /**
   * Call it on page load: continues the stored session, if there is one. A cookie's session that no page of this origin
   * began is not taken up (see `adoptForeignSession`). Never rejects. If the server cannot be
   * reached, it resolves with `unknown`, keeps trying, and calls the subscribers once it succeeds.
   *
   * @param options.timeoutMs After this time it resolves with the session as it is, and goes on. Without it, an
   * unreachable service takes half a minute.
   */
  restore(options?: { readonly timeoutMs?: number }): Promise<Session<Claims>>
  /** Signs in. Rejects with `invalid_credentials`, `too_many_attempts`, …; a previous session then stays. */
  login(input: SignIn): Promise<SignedIn<Claims>>
  /** Creates an account and signs in. Rejects with `email_taken`, `registration_closed`, `validation_failed`, … */
  register(input: Credentials): Promise<SignedIn<Claims>>
  /**
   * Signs out this tab and the other tabs at once, and ends the session on the server. If the server cannot be
   * reached, the client repeats the request until it succeeds, also after a reload. `everywhere` ends all
   * sessions of the user.
   */
  logout(options?: { everywhere?: boolean }): Promise<LogoutResult>
  /** Refreshes now. Rarely needed, because the client refreshes by itself. Concurrent calls share one refresh. */
  refresh(): Promise<SignedIn<Claims>>
  /**
   * Proves again who the user is: by the password, or by whatever a route of the team's own checks. The session goes on
   * with new tokens, which say when the user authenticated last, in all tabs; those of before are dead. Rejects with
   * `invalid_credentials`, `too_many_attempts`, …; the session then stays.
   */
  reauthenticate(proof: Reauthentication): Promise<SignedIn<Claims>>
  /**
   * Asks `onStepUp`, as a call that is refused with `step_up_required` does. Calls that ask at the same time share one
   * run. `auth.fetch` and `authLink` do this themselves.
   *
   * @param asked.calledAt When the refused call began, by `performance.now()`. If the user has authenticated since, they
   * are not asked again.
   * @returns whether to repeat the call with the access token as it is then
   */
  readonly stepUp: (asked: StepUp & { readonly calledAt?: number }) => Promise<boolean>
  /**
   * The access token, refreshed first if it has expired; null when signed out. Do not store it. Rejects when a
   * refresh is needed and fails for now; the session stays. Rejects with `superseded` when another user signs in while it
   * waits.
   *
   * @param options.audience Another service, for a token that only that service accepts. It is asked for once and
   * kept in memory as long as the client's own.
   * @param options.rejected A token that a service has refused: a different one is returned.
   */
  readonly getAccessToken: GetAccessToken
  /**
   * `fetch` with an access token as bearer, without one when signed out. A request that is refused (401) because of
   * the token is repeated once with a new one, unless its body is a stream, it was redirected, or another user has
   * signed in meanwhile. So is one that needs a more recent authentication, if `onStepUp` gets it; otherwise its answer
   * is that 401.
   *
   * Takes only the origins of `baseUrl` and `origins`, and otherwise rejects with `origin_not_configured`. When no
   * token can be had for now, it rejects with the `AuthClientError` of the refresh. Everything else is as with the
   * platform's `fetch`: a `TypeError` when there is no answer, the signal's reason when it is aborted, redirects.
   */
  readonly fetch: typeof globalThis.fetch
  /**
   * Stops timers, listeners and requests, for good: later calls reject with `disposed`. The session itself stays, for
   * the next client. Call it where a module is replaced, not in the cleanup of an effect, which runs twice.
   */
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
