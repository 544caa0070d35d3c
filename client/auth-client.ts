import { bearerFetch } from './calls/bearer-fetch.ts'
import type { AuthClient, GetAccessToken } from './public-types.ts'
import { AuthClientError, toAuthClientError } from './errors.ts'
import { openCredential } from './credential/open.ts'
import { onDemand } from './on-demand.ts'
import { readOptions, type AuthClientOptions } from './options.ts'
import { createSessionCore } from './lifecycle/session-core.ts'
import { familyIdIn, initialSession, userIdIn, type Session, type SignedIn } from './session.ts'
import { byUser, createSignIn } from './lifecycle/sign-in.ts'
import { singleFlight } from './lifecycle/single-flight.ts'
import { within } from './sleep.ts'
import { openTabChannel, type TabMessage } from './tabs/channel.ts'
import { withTabLock } from './tabs/lock.ts'
import { onWake, untilShown, type WakeReason } from './tabs/page-lifecycle.ts'

/** Tabs that come online together refresh at random times within this span. */
const onlineSpreadMs = 500

/**
 * Makes a client. Making it sends no request: call `restore` on page load.
 *
 * @throws {TypeError} for options that contradict each other, and for an invalid `baseUrl` or origin
 * @example
 * const auth = createAuthClient({ baseUrl: 'https://auth.example.com' })
 * const session = await auth.restore()
 * @see {@link AuthClientOptions} and {@link AuthClient}
 */
export function createAuthClient<Claims = unknown>(
  options: AuthClientOptions = {},
): AuthClient<Claims> {
  const settings = readOptions(options)
  const name = `token-ledger ${settings.baseUrl}`
  // Tabs share the cookie, so they share a lock. Processes that share a store use its `swap` instead.
  const sharesCookie = settings.transport === 'cookie'
  const initial = initialSession(options.initial?.user)
  let channel: BroadcastChannel | null = null
  let isWaking = false
  const closing = new AbortController()
  const core = createSessionCore({
    openCredential: openCredential(settings, options.storage),
    withTabLock: (task, waitMs) => (sharesCookie ? withTabLock(name, task, waitMs) : task(true)),
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a channel has its origin
    notifyTabs: (message) => channel?.postMessage(message),
    initial,
  })
  const { state, refresher } = core
  const { signIn, signOut, observeSignIn } = createSignIn(core)

  /** Runs a call. The first one opens what a client leaves behind when it is not disposed. */
  async function used<T>(call: () => Promise<T>): Promise<T> {
    try {
      if (core.isDisposed()) throw disposed()
      if (!isWaking) onWake(wake, closing.signal)
      isWaking = true
      if (sharesCookie) channel ??= openTabChannel(name, onTabMessage)
      await untilShown()
      return await call()
    } catch (error) {
      throw core.isDisposed() ? disposed(error) : error
    }
  }

  async function refresh(): Promise<SignedIn> {
    await refresher.now()
    const session = state.get()
    if (session.status !== 'signed-in') throw new AuthClientError('superseded')
    return session
  }

  // What fails here fails in a refresh as well, which plans another try.
  const isSigningOut = async () => (await core.openCredential()).isSigningOut()
  const restoring = singleFlight(async () => {
    if (state.get().status === 'signed-out' || core.heldToken() !== null) return
    try {
      await used(async () => {
        if (await isSigningOut().catch(() => false)) core.end(byUser, 'this-tab')
        await refresher.now()
      })
    } catch (error) {
      if (state.get().status === 'unknown') state.note(toAuthClientError(error).reason)
    }
  })

  async function restore({ timeoutMs }: { timeoutMs?: number } = {}): Promise<Session> {
    const restored = restoring.run()
    await (timeoutMs === undefined ? restored : within(timeoutMs, restored))
    const session = state.get()
    if (session.status === 'unknown' && session.problem === null) state.note('timeout')
    return state.get()
  }

  const getOwnToken: GetAccessToken = async ({ rejected } = {}) => {
    const usable = () => {
      const held = core.heldToken()
      return held !== null && held.leftMs() > 0 && held.value !== rejected ? held.value : null
    }
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

  const tokenExchange = onDemand(async () => {
    const { createTokenExchange } = await import('./lifecycle/token-exchange.ts')
    const { heldToken } = core
    return createTokenExchange(settings, { getAccessToken: getOwnToken, heldToken })
  })
  const userId = () => userIdIn(state.get())
  const getAccessToken: GetAccessToken = async ({ audience, rejected } = {}) => {
    const before = userId()
    const token = await used(async () =>
      audience === undefined
        ? getOwnToken({ rejected })
        : (await tokenExchange())(audience, rejected),
    )
    // Another user has signed in meanwhile, whose token is not for this call.
    if (token !== null && before !== null && before !== userId())
      throw new AuthClientError('superseded')
    return token
  }

  const { onStepUp } = options
  const stepUps = onDemand(async () => {
    const { createStepUps } = await import('./lifecycle/step-up.ts')
    return createStepUps(core, onStepUp)
  })
  // Where the code does not load, the refusal is the answer.
  const hasSteppedUp = (response: Response, calledAt: number) =>
    stepUps().then(
      (loaded) => loaded.mayRepeat(response, calledAt),
      () => false,
    )

  function onTabMessage(message: TabMessage): void {
    const familyId = familyIdIn(state.get())
    switch (message.kind) {
      case 'refreshed':
        const { grant, record } = message
        if (grant)
          stepUps()
            .then((loaded) => loaded.takeOver(grant, record.settledAt))
            .catch(() => {})
        return core.observeRefresh(record)
      case 'signed-in':
        if (familyId !== message.familyId) observeSignIn()
        return
      case 'signed-out':
        if (message.familyId === null || message.familyId === familyId)
          core.end(message.session, 'this-tab')
        return
      case 'asked':
      case 'answered':
        core.observeSharing(message)
    }
  }

  function wake(reason: WakeReason): void {
    const { status } = state.get()
    const failure = refresher.failure()
    const held = core.heldToken()
    const isDue = held === null || held.leftMs() < held.lifetimeMs / 4
    const refreshNow = () => void refresher.now().catch(() => {})
    if (reason === 'online' && failure !== null)
      setTimeout(refreshNow, Math.random() * onlineSpreadMs)
    else if (status === 'signed-out' || (status === 'unknown' && failure === null)) return
    // A restored page missed the messages of other tabs. Otherwise a token that lasts is left alone.
    else if (reason === 'restored') refreshNow()
    else if (isDue && !failure?.retryAfterSeconds) refreshNow()
  }

  const client: AuthClient = {
    get session() {
      return state.get()
    },
    initial,
    subscribe: (listener) => state.subscribe(listener),
    onUserChange: (listener) => state.onUserChange(listener),
    restore,
    login: (input) => used(() => signIn((credential, signal) => credential.login(input, signal))),
    register: (input) =>
      used(() => signIn((credential, signal) => credential.register(input, signal))),
    logout: ({ everywhere = false } = {}) => used(() => signOut(everywhere)),
    refresh: () => used(refresh),
    reauthenticate: (proof) => used(async () => (await stepUps()).reauthenticate(proof)),
    stepUp: (asked) => used(async () => (await stepUps()).stepUp(asked)),
    getAccessToken,
    fetch: bearerFetch(settings, getAccessToken, userId, onStepUp && hasSteppedUp),
    settings,
    dispose() {
      core.dispose()
      closing.abort()
      channel?.close()
    },
  }
  // What the service sends with a user is not checked.
  return client as AuthClient<Claims>
}

function disposed(cause?: unknown): AuthClientError {
  const message =
    'This client was disposed: make a new one, and dispose of a client only where its module is replaced.'
  return new AuthClientError('disposed', { message, cause })
}
