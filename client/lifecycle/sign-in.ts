import { stopwatch } from './held-token.ts'
import type { Grant } from '../auth-api.ts'
import type { LogoutResult } from '../public-types.ts'
import { AuthClientError, toAuthClientError } from '../errors.ts'
import type { Credential } from '../credential/credential.ts'
import type { SessionCore } from './session-core.ts'
import type { SignedIn } from '../session.ts'

/** How long a sign-out waits for the tab lock, which a slow refresh of another tab may hold. */
const signOutWaitMs = 2_000

export const byUser = { reason: 'logout', incidentId: null } as const

/** Sign-in and sign-out. A sign-in waits for the last sign-out to settle. */
export function createSignIn(core: SessionCore) {
  const { withTabLock, state, refresher } = core
  let lastSignOut: Promise<unknown> = Promise.resolve()
  /** Of the sign-in that is pending. */
  let pending: AbortSignal | null = null
  /** Whether another tab signed in meanwhile. */
  let hasMissed = false

  async function signIn(
    ask: (credential: Credential, signal: AbortSignal) => Promise<Grant>,
  ): Promise<SignedIn> {
    await lastSignOut
    if (core.isDisposed()) throw new AuthClientError('superseded')
    const signal = core.abortPending()
    pending = signal
    try {
      return await withTabLock(async () => {
        const credential = await core.openCredential()
        if (await credential.isSigningOut()) await credential.signOut()
        const watch = stopwatch()
        const grant = await ask(credential, signal)
        if (signal.aborted) throw new AuthClientError('superseded')
        const session = core.accept(grant, watch)
        core.notifyTabs({ kind: 'signed-in', familyId: session.familyId })
        return session
      })
    } catch (error) {
      // The previous session stays, but `abortPending` has cancelled its refreshes.
      if ((hasMissed || state.get().status !== 'signed-out') && !signal.aborted) refreshNow()
      throw error
    } finally {
      if (pending === signal) {
        pending = null
        hasMissed = false
      }
    }
  }

  const refreshNow = () => void refresher.now().catch(() => {})

  /** Takes up the session that another tab began. A sign-in of this tab that is pending comes later, and counts. */
  function observeSignIn(): void {
    hasMissed = pending?.aborted === false
    if (hasMissed) return
    core.abortPending()
    refreshNow()
  }

  async function signOut(everywhere: boolean): Promise<LogoutResult> {
    const credential = await core.openCredential()
    await credential.noteSignOut(everywhere)
    core.end(byUser, 'notify-tabs')
    try {
      const revoked = await withTabLock(() => credential.signOut(), signOutWaitMs)
      return { isConfirmed: true, revoked }
    } catch (cause) {
      const error = toAuthClientError(cause)
      if (!(await credential.isSigningOut())) throw error
      refresher.retryLater(error)
      return { isConfirmed: false, revoked: 0 }
    }
  }

  return {
    signIn,
    observeSignIn,
    signOut: (everywhere: boolean): Promise<LogoutResult> => {
      const done = signOut(everywhere)
      lastSignOut = done.catch(() => {})
      return done
    },
  }
}
