import type { Credentials, Grant } from '../auth-api.ts'
import type { SignIn } from '../public-types.ts'

/**
 * What proves the session between refreshes: the browser's cookie, or a refresh token in a store.
 * Everything rejects with `AuthClientError` alone.
 */
export type Credential = {
  login(input: SignIn, signal: AbortSignal): Promise<Grant>
  register(input: Credentials, signal: AbortSignal): Promise<Grant>
  /** Presents it once, with the attempt id of the attempt that is not settled yet. */
  refresh(signal: AbortSignal): Promise<Grant>
  /** Remembers that the session is not wanted any more, whatever the network does. */
  noteSignOut(everywhere: boolean): Promise<void>
  /** Whether the server has still to be told. */
  isSigningOut(): Promise<boolean>
  /** Tells the server. @returns how many sessions it ended */
  signOut(): Promise<number>
}
