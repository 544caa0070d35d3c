import { createSignal } from './signal.ts'
import { createEndedSet, endedRetentionMs, maxEndedSessions } from './ended-set.ts'
import { AccessTokenError, RevocationsUnavailableError } from '../failure.ts'
import { createFreshness } from './freshness.ts'
import { readMessages } from './sse.ts'

export type RevocationsOptions = {
  /** The service's `REVOCATIONS_TOKEN`. */
  readonly token: string
  /** Where the feed is, when not at `<issuer>/revocations`. It is sent `token`: use https or a network you trust. */
  readonly url?: string | URL | undefined
  /**
   * What happens to a good token while nobody knows of the last five seconds: `refuse` it with 503, the
   * default, or `accept` it, as a verifier does that follows nothing.
   */
  readonly whenBehind?: 'refuse' | 'accept' | undefined
  /** Called when the feed is lost or cannot be had, once an outage. It comes back by itself. */
  readonly onProblem?: ((error: unknown) => void) | undefined
}

export type RevocationsFollower = {
  /**
   * @throws AccessTokenError `access_token_revoked`
   * @throws RevocationsUnavailableError when it is not known, unless that is accepted
   */
  readonly check: (familyId: string) => Promise<void>
  close(): void
}

/** The feed says something every second; silent for so long, it is given up and asked for anew. */
const silenceMs = 3_000

/** The first calls wait so long for the feed to tell what there is. */
const firstNewsMs = 3_000

const minRetryMs = 250
const maxRetryMs = 4_000

/**
 * Keeps the sessions that the feed at `url` says are over. A feed that was lost goes on after the last
 * message where it can, and begins anew where not: nothing is missed.
 *
 * @throws TypeError for an empty token.
 */
export function followRevocations(url: URL, options: RevocationsOptions): RevocationsFollower {
  const { token, whenBehind = 'refuse', onProblem } = options
  if (!token) throw new TypeError('revocations.token is empty')
  const set = createEndedSet(endedRetentionMs, maxEndedSessions)
  const freshness = createFreshness()
  const closing = new AbortController()
  let lastId: string | null = null
  let problem: unknown = null
  const changed = createSignal()
  const firstNews = changed.wait(firstNewsMs)

  async function follow(): Promise<void> {
    let failures = 0
    while (!closing.signal.aborted) {
      try {
        await followOnce(() => {
          failures = 0
          problem = null
          changed.notify()
        })
        throw new Error('the feed has ended')
      } catch (error) {
        if (problem === null && !closing.signal.aborted) onProblem?.(error)
        problem = error
      }
      const retryMs = Math.min(minRetryMs * 2 ** failures, maxRetryMs)
      failures += 1
      if (!closing.signal.aborted) await changed.wait(retryMs * (0.5 + Math.random() / 2))
    }
  }

  async function followOnce(onCurrent: () => void): Promise<void> {
    const leaving = new AbortController()
    let reader: ReadableStreamDefaultReader<Uint8Array> | null = null
    const leave = () => {
      leaving.abort(new Error('the feed is silent'))
      // Node's fetch may have forgotten the signal by the time that it has answered.
      reader?.cancel().catch(() => {})
    }
    const silence = setTimeout(leave, silenceMs)
    closing.signal.addEventListener('abort', leave)
    try {
      const response = await fetch(url, {
        headers: {
          accept: 'text/event-stream',
          authorization: `Bearer ${token}`,
          ...(lastId !== null && { 'last-event-id': lastId }),
        },
        // Whoever it would lead to would be sent the token.
        redirect: 'error',
        signal: leaving.signal,
      })
      if (response.status !== 200 || response.body === null)
        throw new Error(`the feed answered ${response.status}`)
      reader = response.body.getReader()
      for await (const { event, id, data } of readMessages(reader, () => silence.refresh())) {
        if (event === 'ended') set.add([endedIn(data)])
        lastId = id ?? lastId
        if (event !== 'checked') continue
        // Nothing new: those whose time is over are forgotten.
        set.add([])
        freshness.confirm(lagIn(data))
        onCurrent()
      }
    } finally {
      clearTimeout(silence)
      closing.signal.removeEventListener('abort', leave)
      leave()
    }
  }

  void follow()
  return {
    async check(familyId) {
      const isCurrent = () => freshness.isCurrent() && set.isComplete()
      if (!isCurrent()) await firstNews
      if (set.has(familyId))
        throw new AccessTokenError('access_token_revoked', 'the session is over')
      if (whenBehind === 'refuse' && !isCurrent()) throw new RevocationsUnavailableError(problem)
    },
    close() {
      closing.abort()
      changed.notify()
    },
  }
}

function endedIn(data: unknown): { familyId: string; endedAt: number } {
  const { sid, endedAt } = data as { sid?: unknown; endedAt?: unknown }
  if (typeof sid !== 'string' || typeof endedAt !== 'string')
    throw new Error('the feed names no session')
  return { familyId: sid, endedAt: Date.parse(endedAt) }
}

function lagIn(data: unknown): number {
  const { lagMs } = data as { lagMs?: unknown }
  if (typeof lagMs !== 'number' || !(lagMs >= 0)) throw new Error('the feed names no lag')
  return lagMs
}
