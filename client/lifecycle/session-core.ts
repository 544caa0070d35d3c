import { holdToken, stopwatch, type HeldToken } from './held-token.ts'
import type { Grant } from '../auth-api.ts'
import { createCookieOrder } from '../tabs/cookie-order.ts'
import type { Credential } from '../credential/credential.ts'
import { AuthClientError, isDefinitive } from '../errors.ts'
import { createRefresher } from './refresher.ts'
import {
  createSessionState,
  familyIdOf,
  signedIn,
  type SignedIn,
  type SignedOut,
} from '../session.ts'
import type { TabMessage } from '../tabs/channel.ts'

export type SessionCore = ReturnType<typeof createSessionCore>
export type SessionEnd = Pick<SignedOut, 'reason' | 'incidentId'>

/** Well within the server's grace window (10 s unless it is set otherwise). */
const healWithinMs = 2_000

/** The session, its access token, and what a refresh does to them. */
export function createSessionCore(parts: {
  readonly credential: Credential
  /** Keeps this tab and the others from doing it at once. */
  readonly withTabLock: <T>(task: (isAlone: boolean) => Promise<T>, waitMs?: number) => Promise<T>
  readonly tellTabs: (message: TabMessage) => void
}) {
  const { credential, withTabLock, tellTabs } = parts
  const state = createSessionState()
  const order = createCookieOrder()
  const refresher = createRefresher(attempt, (problem) => state.note(problem.reason))
  let held: HeldToken | null = null
  // What is asked belongs to the life it was asked in: an answer from before a sign-out is nobody's.
  let requests = new AbortController()
  let healing: ReturnType<typeof setTimeout> | undefined

  async function attempt(): Promise<void> {
    const { signal } = requests
    await withTabLock(async (isAlone) => {
      if (await credential.isSigningOut()) {
        await credential.signOut()
        if (state.get().status === 'signed-out') return
      }
      const [watch, startedAt] = [stopwatch(), Date.now()]
      try {
        const grant = await credential.refresh(signal)
        if (signal.aborted) throw new AuthClientError('superseded')
        accept(grant, watch)
        const { familyId, refreshExpiresAt } = grant
        const settled = { familyId, refreshExpiresAt, startedAt, settledAt: Date.now(), isAlone }
        order.settled(settled)
        tellTabs({ kind: 'refreshed', settled })
        repairCookieOrder()
      } catch (error) {
        if (signal.aborted) throw new AuthClientError('superseded', { cause: error })
        if (isDefinitive(error)) end(error, 'tell')
        throw error
      }
    })
  }

  /** Any tab's refresh heals for all: the first to come does it. */
  function repairCookieOrder(): void {
    if (!order.isCrossed()) return
    clearTimeout(healing)
    healing = setTimeout(
      () => {
        if (order.isCrossed()) refresher.now().catch(() => {})
      },
      healWithinMs * (0.1 + 0.9 * Math.random()),
    )
  }

  function accept(grant: Grant, watch: () => number): SignedIn {
    held = holdToken(grant.accessToken, grant.expiresIn, watch)
    refresher.plan(held.lifetimeMs)
    const session = signedIn(grant)
    state.set(session)
    return session
  }

  /** Whatever is under way belongs to another life from here on. */
  function abortPending(): AbortSignal {
    requests.abort()
    requests = new AbortController()
    refresher.stop()
    clearTimeout(healing)
    return requests.signal
  }

  function end({ reason, incidentId }: SessionEnd, others: 'tell' | 'know'): void {
    const was = state.get()
    const session: SignedOut = { status: 'signed-out', reason, incidentId }
    abortPending()
    held = null
    if (others === 'tell' && (was.status === 'signed-in' || reason === 'logout'))
      tellTabs({ kind: 'signed-out', familyId: familyIdOf(was), session })
    state.set(session)
  }

  return {
    credential,
    withTabLock,
    tellTabs,
    state,
    refresher,
    accept,
    supersede: abortPending,
    end,
    heldToken: () => held,
    /** Another tab's. */
    heardOfRefresh(settled: Parameters<typeof order.heard>[0]): void {
      order.heard(settled)
      repairCookieOrder()
    },
    isDisposed: () => requests.signal.aborted,
    dispose(): void {
      abortPending()
      requests.abort()
      held = null
      state.clear()
    },
  }
}
