import { stopwatch } from './held-token.ts'
import type { Grant } from '../auth-api.ts'
import type { LogoutResult } from '../public-types.ts'
import { AuthClientError, toAuthClientError } from '../errors.ts'
import type { SessionCore } from './session-core.ts'
import type { SignedIn } from '../session.ts'

/** A sign-out does not wait for another tab's slow refresh longer than this. */
const signOutWaitMs = 2_000

export const byUser = { reason: 'logout', incidentId: null } as const

/** Sign-ins and sign-outs, each after the one before. */
export function createSignIn(core: SessionCore) {
  const { credential, withTabLock, state, refresher } = core
  let lastSignOut: Promise<unknown> = Promise.resolve()

  async function signIn(ask: (signal: AbortSignal) => Promise<Grant>): Promise<SignedIn> {
    await lastSignOut
    if (core.isDisposed()) throw new AuthClientError('superseded')
    const signal = core.supersede()
    try {
      return await withTabLock(async () => {
        if (await credential.isSigningOut()) await credential.signOut()
        const watch = stopwatch()
        const session = core.accept(await ask(signal), watch)
        core.tellTabs({ kind: 'signed-in', familyId: session.familyId })
        return session
      })
    } catch (error) {
      // The session there was goes on.
      if (state.get().status !== 'signed-out' && !signal.aborted) refresher.now().catch(() => {})
      throw error
    }
  }

  async function signOut(everywhere: boolean): Promise<LogoutResult> {
    await credential.noteSignOut(everywhere)
    core.end(byUser, 'tell')
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
