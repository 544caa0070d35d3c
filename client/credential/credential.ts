import type { AuthApi, Credentials, Grant } from '../auth-api.ts'
import type { AuthInputs } from '../auth-calls.ts'
import type { SignIn } from '../public-types.ts'

/** An attempt to get the next token. */
export type Attempt = AuthInputs['refresh'] & { readonly attemptId: string }

/** Sends an attempt. */
export type Ask = (post: AuthApi, attempt: Attempt, signal: AbortSignal) => Promise<Grant>

export const askRefresh: Ask = (post, attempt, signal) => post('refresh', attempt, signal)

/** How the refresh token is kept: in the browser's cookie or in a store. Rejects only with `AuthClientError`. */
export type Credential = {
  login(input: SignIn, signal: AbortSignal): Promise<Grant>
  register(input: Credentials, signal: AbortSignal): Promise<Grant>
  /**
   * Sends one refresh, with the attempt id of an earlier attempt that got no answer, if there is one.
   *
   * @param ask sends the attempt elsewhere, where the user proves again who they are
   */
  refresh(signal: AbortSignal, ask?: Ask): Promise<Grant>
  /** For a cookie: whether this is the session that the pages of this origin share. */
  isOwn?(familyId: string): boolean
  /** Notes durably that the user signed out, before the server is asked. */
  noteSignOut(everywhere: boolean): Promise<void>
  /** Whether a sign-out is noted that the server has not confirmed. */
  isSigningOut(): Promise<boolean>
  /** Sends the noted sign-out. @returns how many sessions the server ended */
  signOut(): Promise<number>
}
