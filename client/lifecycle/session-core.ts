import { holdToken, stopwatch, type HeldToken } from './held-token.ts'
import type { Grant } from '../auth-api.ts'
import { createCookieOrder } from '../tabs/cookie-order.ts'
import type { Ask, Credential } from '../credential/credential.ts'
import { AuthClientError, isDefinitive, toAuthClientError } from '../errors.ts'
import { createRefresher } from './refresher.ts'
import {
  createSessionState,
  familyIdIn,
  signedIn,
  type Session,
  type SignedIn,
  type SignedOut,
} from '../session.ts'
import type { TabMessage } from '../tabs/channel.ts'
import { shareToken } from '../tabs/shared-token.ts'

export type SessionCore = ReturnType<typeof createSessionCore>
export type SessionEnd = Pick<SignedOut, 'reason' | 'incidentId'>

/** Holds the session and its access token, and updates them on refresh, sign-in and sign-out. */
export function createSessionCore(parts: {
  readonly openCredential: () => Credential | Promise<Credential>
  /** See `tabs/lock.ts`. */
  readonly withTabLock: <T>(task: (isAlone: boolean) => Promise<T>, waitMs?: number) => Promise<T>
  readonly notifyTabs: (message: TabMessage) => void
  readonly initial: Session
}) {
  const { openCredential, withTabLock, notifyTabs, initial } = parts
  const state = createSessionState(initial)
  const refresher = createRefresher(
    () => attempt(),
    (problem) => state.note(problem.reason),
  )
  const cookieOrder = createCookieOrder(() => void refresher.now().catch(() => {}))
  let held: HeldToken | null = null
  // Aborted on sign-in, sign-out and dispose: responses to older requests are ignored.
  let requests = new AbortController()

  const sharedToken = shareToken(notifyTabs, () => {
    const session = state.get()
    if (session.status !== 'signed-in' || held === null || !cookieOrder.isNewest()) return null
    if (held.leftMs() < held.lifetimeMs / 4) return null
    const { user, familyId, refreshExpiresAt } = session
    const { value: accessToken } = held
    const expiresIn = held.leftMs() / 1000
    return { accessToken, tokenType: 'Bearer', expiresIn, refreshExpiresAt, familyId, user }
  })

  /** Takes the token of another tab, for the same session and only in place of none. */
  async function borrow(credential: Credential, signal: AbortSignal): Promise<boolean> {
    const watch = stopwatch()
    const grant = await sharedToken.ask()
    if (grant === null || signal.aborted || credential.isOwn?.(grant.familyId) !== true)
      return false
    accept(grant, watch)
    return true
  }

  /** @param ask as `Credential.refresh` takes it; the tabs then get its answer, too */
  async function attempt(ask?: Ask): Promise<void> {
    const { signal } = requests
    const calledAt = Date.now()
    const isWithout = held === null || held.leftMs() <= 0
    await withTabLock(async (isAlone) => {
      const credential = await openCredential()
      if (await credential.isSigningOut()) {
        await credential.signOut()
        if (state.get().status === 'signed-out') return
      }
      if (isWithout && cookieOrder.hasOtherSince(calledAt) && (await borrow(credential, signal)))
        return
      const watch = stopwatch()
      const startedAt = Date.now()
      try {
        const grant = await credential.refresh(signal, ask)
        if (signal.aborted) throw new AuthClientError('superseded')
        accept(grant, watch)
        const { familyId, refreshExpiresAt } = grant
        const record = { familyId, refreshExpiresAt, startedAt, settledAt: Date.now(), isAlone }
        cookieOrder.observeOwn(record)
        notifyTabs({ kind: 'refreshed', record, grant: ask && grant })
      } catch (error) {
        if (signal.aborted) throw new AuthClientError('superseded', { cause: error })
        if (isDefinitive(error)) end(error, 'notify-tabs')
        const isTooMany = toAuthClientError(error).reason === 'too_many_attempts'
        if (isWithout && isTooMany && (await borrow(credential, signal))) return
        throw error
      }
    })
  }

  function accept(grant: Grant, watch: () => number): SignedIn {
    held = holdToken(grant.accessToken, grant.expiresIn, watch)
    refresher.plan(held.lifetimeMs)
    const session = signedIn(grant, state.get())
    state.set(session)
    return session
  }

  /** Aborts requests in progress and plans of the refresher. @returns the signal for new requests */
  function abortPending(): AbortSignal {
    requests.abort()
    requests = new AbortController()
    refresher.stop()
    cookieOrder.stop()
    return requests.signal
  }

  function end({ reason, incidentId }: SessionEnd, tabs: 'notify-tabs' | 'this-tab'): void {
    const before = state.get()
    const session: SignedOut = { status: 'signed-out', reason, incidentId }
    abortPending()
    held = null
    if (tabs === 'notify-tabs' && (before.status === 'signed-in' || reason === 'logout'))
      notifyTabs({ kind: 'signed-out', familyId: familyIdIn(before), session })
    state.set(session)
  }

  return {
    openCredential,
    withTabLock,
    notifyTabs,
    state,
    refresher,
    attempt,
    accept,
    abortPending,
    end,
    heldToken: () => held,
    observeRefresh: cookieOrder.observe,
    observeSharing: sharedToken.onMessage,
    isDisposed: () => requests.signal.aborted,
    dispose(): void {
      abortPending()
      requests.abort()
      held = null
      state.clear()
    },
  }
}
