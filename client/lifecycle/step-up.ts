import { field, type Grant } from '../auth-api.ts'
import type { Ask } from '../credential/credential.ts'
import { AuthClientError, isTransient, toAuthClientError } from '../errors.ts'
import type { AuthClientOptions } from '../options.ts'
import type { AuthClient, Reauthentication } from '../public-types.ts'
import { familyIdIn, type SignedIn } from '../session.ts'
import { sleep } from '../sleep.ts'
import { stopwatch } from './held-token.ts'
import type { SessionCore } from './session-core.ts'

export type StepUps = ReturnType<typeof createStepUps>

/** Of requests that got no answer, and of those that a refresh of another tab or process came before. */
const maxTries = 5
const betweenTriesMs = 400
/**
 * Without the Web Locks API, a refresh of another tab may be on its way with an attempt of its own, and no grace window
 * would cover it. After this wait it has its answer, and a tab that began meanwhile has found the attempt of this one.
 */
const otherTabsMs = 1_000

/** Proving again who the user is, for calls that need it. */
export function createStepUps(core: SessionCore, onStepUp: AuthClientOptions['onStepUp']) {
  let asking: Promise<boolean> | null = null
  /** By `performance.now()`, in this tab or another. */
  let authenticatedAt = -Infinity

  /** A request without an answer is repeated with its attempt, which gets the same token. */
  async function reauthenticate(proof: Reauthentication): Promise<SignedIn> {
    const { state } = core
    let isDone = false
    const ask: Ask = async (post, attempt, signal) => {
      const { route = 'reauthenticate', ...content } = proof
      // A route of the team's own takes the same attempt, with a proof of its own.
      const input = { ...content, ...attempt } as { password: string; attemptId: string }
      if (mayRaceTabs()) await sleep(otherTabsMs)
      const grant = await post(route as 'reauthenticate', input, signal)
      isDone = grant.isReauthenticated
      return grant
    }
    for (let tries = 1; tries <= maxTries; tries += 1) {
      try {
        await core.attempt(ask)
        const session = state.get()
        if (session.status !== 'signed-in') throw new AuthClientError('superseded')
        if (!isDone) continue
        authenticatedAt = performance.now()
        return session
      } catch (cause) {
        const error = toAuthClientError(cause)
        if (tries === maxTries || !isTransient(error)) throw error
        await sleep(betweenTriesMs * tries * (0.5 + Math.random() / 2))
      }
    }
    throw new AuthClientError('too_many_attempts', { retryAfterSeconds: 1 })
  }

  const stepUp: AuthClient['stepUp'] = ({ maxAgeSeconds, calledAt = Infinity }) => {
    if (authenticatedAt > calledAt) return Promise.resolve(true)
    asking ??= (async () => (await onStepUp?.({ maxAgeSeconds })) === true)().finally(() => {
      asking = null
    })
    return asking
  }

  return {
    reauthenticate,
    stepUp,

    /** Whether a request that got this answer needed a more recent authentication, and its user has authenticated. */
    async mayRepeat(response: Response, calledAt: number): Promise<boolean> {
      const maxAgeSeconds = await maxAgeIn(response)
      return maxAgeSeconds !== null && stepUp({ maxAgeSeconds, calledAt })
    },

    /** Takes the access token of a tab in which the user has authenticated again: that of before is of too long ago. */
    takeOver(grant: Grant, at: number): void {
      const { state } = core
      // A frozen tab gets its messages late.
      const expiresIn = grant.expiresIn - (Date.now() - at) / 1000
      const isOwn = !core.isDisposed() && grant.familyId === familyIdIn(state.get())
      if (!isOwn || expiresIn <= 0) return
      core.accept({ ...grant, expiresIn }, stopwatch())
      authenticatedAt = performance.now()
    },
  }
}

function mayRaceTabs(): boolean {
  return typeof document !== 'undefined' && navigator.locks === undefined
}

/** How long ago the user may have authenticated, where that is why the request was refused; null otherwise. */
async function maxAgeIn(response: Response): Promise<number | null> {
  if (response.status !== 401) return null
  const challenge = response.headers.get('www-authenticate') ?? ''
  // RFC 9470 §3
  const [, asked] = /insufficient_user_authentication.*max_age="?(\d+)/.exec(challenge) ?? []
  if (asked !== undefined) return Number(asked)
  // Without this header in `Access-Control-Expose-Headers`, a page cannot read it: look into the body.
  const body: unknown = await response
    .clone()
    .json()
    .catch(() => null)
  const maxAgeSeconds = field(body, 'error', 'data', 'maxAgeSeconds')
  return typeof maxAgeSeconds === 'number' ? maxAgeSeconds : null
}
