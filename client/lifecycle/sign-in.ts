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

  async function signIn(
    ask: (credential: Credential, signal: AbortSignal) => Promise<Grant>,
  ): Promise<SignedIn> {
    await lastSignOut
    if (core.isDisposed()) throw new AuthClientError('superseded')
    const signal = core.abortPending()
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
      if (state.get().status !== 'signed-out' && !signal.aborted) refresher.now().catch(() => {})
      throw error
    }
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
    signOut: (everywhere: boolean): Promise<LogoutResult> => {
      const done = signOut(everywhere)
      lastSignOut = done.catch(() => {})
      return done
    },
  }
}
