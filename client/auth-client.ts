import { holdToken, stopwatch, type HeldToken } from './access-token.ts'
import type { Grant } from './auth-api.ts'
import { bearerFetch } from './bearer-fetch.ts'
import type { AuthClient, LogoutResult } from './client-surface.ts'
import { createCookieOrder } from './cookie-order.ts'
import { openCredential } from './open-credential.ts'
import { AuthClientError, isDefinitive, toAuthClientError } from './errors.ts'
import { readOptions, type AuthClientOptions } from './options.ts'
import { createRefresher } from './refresher.ts'
import { createSessionState, familyOf, signedIn, type SignedIn, type SignedOut } from './session.ts'
import { singleFlight } from './single-flight.ts'
import { openTabChannel, type TabMessage } from './tab-channel.ts'
import { inTurn } from './tab-turn.ts'
import { onWake, type Wake } from './wake.ts'

/** A sign-out does not wait for another tab's slow refresh longer than this. */
const signOutWaitMs = 2_000
/** Tabs that come online together do not ask in the same moment. */
const onlineSpreadMs = 500
/** Well within the server's grace window (10 s). */
const healWithinMs = 2_000

const byUser = { reason: 'logout', incidentId: null } as const

/** @throws {TypeError} for options that contradict each other */
export function createAuthClient(options: AuthClientOptions = {}): AuthClient {
  const settings = readOptions(options)
  const isCookie = settings.transport === 'cookie'
  const credential = openCredential(settings, options.storage)
  const name = `token-ledger ${settings.baseUrl}`
  const takeTurn: typeof inTurn = isCookie ? (...turn) => inTurn(...turn) : (_, task) => task(true)
  const order = createCookieOrder()
  const state = createSessionState()
  const refresher = createRefresher(attempt, (problem) => state.note(problem.reason))
  const channel = isCookie ? openTabChannel(name, hear) : null
  const stopWaking = onWake(wake)
  let held: HeldToken | null = null
  // What is asked belongs to the life it was asked in: an answer from before a sign-out is nobody's.
  let life = new AbortController()
  let healing: ReturnType<typeof setTimeout> | undefined
  let signingOut: Promise<unknown> = Promise.resolve()

  async function attempt(): Promise<void> {
    const { signal } = life
    await takeTurn(name, async (isAlone) => {
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
        channel?.tell({ kind: 'refreshed', settled })
        order.settled(settled)
        if (order.isCrossed()) healSoon()
      } catch (error) {
        if (signal.aborted) throw new AuthClientError('superseded', { cause: error })
        if (isDefinitive(error)) end(error, 'tell')
        throw error
      }
    })
  }

  /** Any tab's refresh heals for all: the first to come does it. */
  function healSoon(): void {
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

  function supersede(): void {
    life.abort()
    life = new AbortController()
    refresher.stop()
  }

  function end(
    { reason, incidentId }: Pick<SignedOut, 'reason' | 'incidentId'>,
    others: 'tell' | 'know',
  ): void {
    const was = state.get()
    const session: SignedOut = { status: 'signed-out', reason, incidentId }
    supersede()
    held = null
    if (others === 'tell' && (was.status === 'signed-in' || reason === 'logout'))
      channel?.tell({ kind: 'signed-out', familyId: familyOf(was), session })
    state.set(session)
  }

  async function signIn(ask: (signal: AbortSignal) => Promise<Grant>): Promise<SignedIn> {
    await signingOut
    if (life.signal.aborted) throw new AuthClientError('superseded')
    supersede()
    const { signal } = life
    try {
      return await takeTurn(name, async () => {
        if (await credential.isSigningOut()) await credential.signOut()
        const watch = stopwatch()
        const session = accept(await ask(signal), watch)
        channel?.tell({ kind: 'signed-in', familyId: session.familyId })
        return session
      })
    } catch (error) {
      // The session there was goes on.
      if (state.get().status !== 'signed-out' && !signal.aborted) refresher.now().catch(() => {})
      throw error
    }
  }

  async function logout({ everywhere = false } = {}): Promise<LogoutResult> {
    await credential.noteSignOut(everywhere)
    end(byUser, 'tell')
    try {
      const revoked = await takeTurn(name, () => credential.signOut(), signOutWaitMs)
      return { isConfirmed: true, revoked }
    } catch (cause) {
      const error = toAuthClientError(cause)
      if (!(await credential.isSigningOut())) throw error
      refresher.retryLater(error)
      return { isConfirmed: false, revoked: 0 }
    }
  }

  async function refresh(): Promise<SignedIn> {
    await refresher.now()
    return whileSignedIn()
  }

  function whileSignedIn(): SignedIn {
    const session = state.get()
    if (session.status === 'signed-in') return session
    throw new AuthClientError('superseded')
  }

  const restoring = singleFlight(async () => {
    if (state.get().status !== 'unknown') return state.get()
    try {
      if (await credential.isSigningOut()) end(byUser, 'know')
      await refresher.now()
    } catch (error) {
      if (state.get().status === 'unknown') state.note(toAuthClientError(error).reason)
    }
    return state.get()
  })

  async function getAccessToken({ rejected }: { rejected?: string } = {}): Promise<string | null> {
    const usable = () => (held && held.leftMs() > 0 && held.value !== rejected ? held.value : null)
    if (state.get().status === 'signed-out') return null
    const token = usable()
    if (token !== null) return token
    try {
      await refresher.nowIfAllowed()
    } catch (error) {
      if (state.get().status !== 'signed-out' && usable() === null) throw error
    }
    return usable()
  }

  function hear(message: TabMessage): void {
    const session = state.get()
    if (message.kind === 'refreshed') {
      order.heard(message.settled)
      if (order.isCrossed()) healSoon()
    } else if (message.kind === 'signed-in') {
      if (familyOf(session) === message.familyId) return
      supersede()
      refresher.now().catch(() => {})
    } else if (message.familyId === null || message.familyId === familyOf(session)) {
      end(message.session, 'know')
    }
  }

  function wake(reason: Wake): void {
    const failure = refresher.failure()
    const isDue = held === null || held.leftMs() < held.lifetimeMs / 4
    const isOut = state.get().status === 'signed-out'
    if (reason === 'online' && failure !== null)
      setTimeout(() => void refresher.now().catch(() => {}), Math.random() * onlineSpreadMs)
    else if (isOut || (state.get().status === 'unknown' && failure === null)) return
    else if (reason === 'restored') refresher.now().catch(() => {})
    else if (isDue && (failure?.retryAfterSeconds ?? null) === null) refresher.now().catch(() => {})
  }

  return {
    get session() {
      return state.get()
    },
    subscribe: (listener) => state.subscribe(listener),
    restore: () => restoring.run(),
    login: (input) => signIn((signal) => credential.login(input, signal)),
    register: (input) => signIn((signal) => credential.register(input, signal)),
    logout(how) {
      const done = logout(how)
      signingOut = done.catch(() => {})
      return done
    },
    refresh,
    getAccessToken,
    fetch: bearerFetch(settings, getAccessToken),
    settings,
    dispose() {
      supersede()
      life.abort()
      stopWaking()
      channel?.close()
      state.clear()
      held = null
    },
  }
}
