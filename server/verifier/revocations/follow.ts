import { createSignal } from './signal.ts'
import { createAsk } from './ask.ts'
import { createEndedSet, endedRetentionMs, maxEndedSessions } from './ended-set.ts'
import { AccessTokenError, RevocationsUnavailableError } from '../failure.ts'
import { createFreshness } from './freshness.ts'
import { readMessages, type SseMessage } from './sse.ts'

export type RevocationsOptions = {
  /** The service's `REVOCATIONS_TOKEN`. */
  readonly token: string
  /** The URL of the feed, if not `<issuer>/revocations`. `token` is sent to it: use https or a network you trust. */
  readonly url?: string | URL | undefined
  /**
   * What to do with a valid token while the feed is more than five seconds behind, or when the service does not
   * answer a question about the session: `refuse` it with 503, the default, or `accept` it, like a verifier
   * without revocations.
   */
  readonly whenBehind?: 'refuse' | 'accept' | undefined
  /** Called once for each outage of the feed. The verifier reconnects by itself. */
  readonly onProblem?: ((error: unknown) => void) | undefined
}

export type RevocationsFollower = {
  /**
   * @throws AccessTokenError `access_token_revoked`
   * @throws RevocationsUnavailableError if the feed is behind or a question has no answer, unless `whenBehind`
   * is `accept`
   */
  readonly check: (familyId: string) => Promise<void>
  close(): void
}

export type RevocationsTiming = {
  /** The feed sends something every second. After this long without data, the connection is replaced. */
  readonly silenceMs: number
  /** How long the first calls wait for the feed's first report. */
  readonly firstReportMs: number
}

export const revocationsTiming: RevocationsTiming = { silenceMs: 3_000, firstReportMs: 3_000 }

const minRetryMs = 250
const maxRetryMs = 4_000

/**
 * Keeps the sessions that the feed at `url` reports as ended. A lost feed is continued after its last message if
 * the service still can, and started again otherwise. No end is missed: where so many sessions end that the service
 * or this process cannot hold them, the service is asked about those that may be among them.
 *
 * @throws TypeError for an empty token.
 */
export function followRevocations(
  url: URL,
  options: RevocationsOptions,
  { silenceMs, firstReportMs }: RevocationsTiming = revocationsTiming,
): RevocationsFollower {
  const { token, whenBehind = 'refuse', onProblem } = options
  if (!token) throw new TypeError('revocations.token is empty')
  const set = createEndedSet(endedRetentionMs, maxEndedSessions)
  const freshness = createFreshness()
  const hasEnded = createAsk(url, token)
  /** The service says that its feed lacks sessions. */
  let isFeedIncomplete = false
  const closing = new AbortController()
  let lastId: string | null = null
  let problem: unknown = null
  const changed = createSignal()
  const firstReport = changed.wait(firstReportMs)

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
    const feed = readFeed(url, { token, lastId, silenceMs, closing: closing.signal })
    for await (const { event, id, data } of feed) {
      if (event === 'ended') set.add([endedIn(data)])
      lastId = id ?? lastId
      if (event !== 'checked' && event !== 'incomplete') continue
      isFeedIncomplete = event === 'incomplete'
      // Adds nothing, but removes sessions whose retention is over.
      set.add([])
      freshness.confirm(lagIn(data))
      onCurrent()
    }
  }

  /** Where this process knows that it does not know. A feed that is behind is another matter: see `whenBehind`. */
  const mustAsk = (found: 'perhaps' | 'no') =>
    freshness.isCurrent() && (isFeedIncomplete || found === 'perhaps')

  async function ask(familyId: string): Promise<boolean> {
    try {
      return await hasEnded(familyId)
    } catch (error) {
      if (whenBehind === 'accept') return false
      throw new RevocationsUnavailableError(error)
    }
  }

  void follow()
  return {
    async check(familyId) {
      if (!freshness.isCurrent()) await firstReport
      const found = set.find(familyId)
      if (found === 'ended' || (mustAsk(found) && (await ask(familyId))))
        throw new AccessTokenError('access_token_revoked', 'the session has ended')
      if (whenBehind === 'refuse' && !freshness.isCurrent())
        throw new RevocationsUnavailableError(problem)
    },
    close() {
      closing.abort()
      changed.notify()
    },
  }
}

/**
 * Opens the feed after the message `lastId` and reads its messages until `closing` aborts.
 *
 * @throws when the feed cannot be opened, is lost or sends nothing for too long
 */
async function* readFeed(
  url: URL,
  {
    token,
    lastId,
    silenceMs,
    closing,
  }: { token: string; lastId: string | null; silenceMs: number; closing: AbortSignal },
): AsyncGenerator<SseMessage, void> {
  const disconnecting = new AbortController()
  let reader: ReadableStreamDefaultReader<Uint8Array> | null = null
  const disconnect = () => {
    disconnecting.abort(new Error(`the feed sent nothing for ${silenceMs / 1000} s`))
    // Node's fetch may ignore the signal once the response has arrived.
    reader?.cancel().catch(() => {})
  }
  let silence = setTimeout(disconnect, silenceMs)
  const heard = () => {
    clearTimeout(silence)
    silence = setTimeout(disconnect, silenceMs)
  }
  closing.addEventListener('abort', disconnect)
  try {
    const response = await fetch(url, {
      headers: {
        accept: 'text/event-stream',
        authorization: `Bearer ${token}`,
        ...(lastId !== null && { 'last-event-id': lastId }),
      },
      // Not followed, because the token would go to another server. Edge workers do not know `error`.
      redirect: 'manual',
      signal: disconnecting.signal,
    })
    if (response.status !== 200 || response.body === null)
      throw new Error(`the feed answered ${response.status}`)
    reader = response.body.getReader()
    yield* readMessages(reader, heard)
  } finally {
    clearTimeout(silence)
    closing.removeEventListener('abort', disconnect)
    disconnect()
  }
}

function endedIn(data: unknown): { familyId: string; endedAt: number } {
  const { sid, endedAt } = data as { sid?: unknown; endedAt?: unknown }
  if (typeof sid !== 'string' || typeof endedAt !== 'string')
    throw new Error('the feed sent an ended message without sid or endedAt')
  return { familyId: sid, endedAt: Date.parse(endedAt) }
}

function lagIn(data: unknown): number {
  const { lagMs } = data as { lagMs?: unknown }
  if (typeof lagMs !== 'number' || !(lagMs >= 0))
    throw new Error('the feed sent a message without a valid lagMs')
  return lagMs
}
