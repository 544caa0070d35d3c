import { field } from '../auth-api.ts'
import { AuthClientError, isPermanent, toAuthClientError } from '../errors.ts'
import type { AuthClient } from '../public-types.ts'
import { userIdIn } from '../session.ts'
import { readEvents, type StreamEvent } from './event-stream.ts'

/** Until the server asks for another wait. Each failed connection doubles it, up to a minute. */
const firstWaitMs = 1_000
const longestWaitMs = 60_000

type Listener = (event: object) => void

/** Why a connection ended; `event` is what listeners of `error` get. */
type Ending = { readonly event: object; readonly isFinal: boolean; readonly waitMs: number }

/** What tRPC uses of an `EventSource`. */
export type EventSourceClass = new (
  url: string,
  init?: object,
) => {
  readonly CONNECTING: number
  readonly OPEN: number
  readonly CLOSED: number
  readyState: number
  addEventListener(type: string, listener: Listener): void
  removeEventListener(type: string, listener: Listener): void
  close(): void
}

/**
 * An `EventSource` of one subscription, made of `fetch`, which sends a bearer token. tRPC makes a second one when the
 * service is silent for too long. When a stream ends or is refused because of its token, it connects again with a new
 * one, unless another user has signed in meanwhile. Listeners of `error` get an error, or the answer of a service in
 * tRPC's shape.
 */
export function eventSourceOf(auth: AuthClient, audience: string | undefined): EventSourceClass {
  let ownUserId = userIdIn(auth.session)
  return class {
    readonly CONNECTING = 0
    readonly OPEN = 1
    readonly CLOSED = 2
    readyState = 0
    readonly #listeners = new Map<string, Listener[]>()
    readonly #closing = new AbortController()
    #lastEventId = ''
    #waitMs = firstWaitMs
    #failures = 0

    constructor(url: string, _init?: object) {
      void this.#run(url)
    }

    addEventListener(type: string, listener: Listener): void {
      this.#listeners.set(type, [...(this.#listeners.get(type) ?? []), listener])
    }

    removeEventListener(type: string, listener: Listener): void {
      const others = this.#listeners.get(type)?.filter((one) => one !== listener)
      this.#listeners.set(type, others ?? [])
    }

    close(): void {
      this.readyState = this.CLOSED
      this.#closing.abort()
    }

    #emit(type: string, event: object): void {
      for (const listener of this.#listeners.get(type) ?? []) listener(event)
    }

    async #run(url: string): Promise<void> {
      const { signal } = this.#closing
      while (!signal.aborted) {
        const ending = await this.#connect(url).catch(endingOf)
        if (signal.aborted) return
        if (ending === 'renewed') continue
        this.readyState = ending.isFinal ? this.CLOSED : this.CONNECTING
        this.#emit('error', ending.event)
        if (ending.isFinal) return
        const waitMs = Math.min(this.#waitMs * 2 ** this.#failures, longestWaitMs)
        this.#failures += 1
        await pause(Math.max(waitMs * (0.5 + Math.random() / 2), ending.waitMs), signal)
      }
    }

    async #connect(url: string): Promise<Ending | 'renewed'> {
      const { signal } = this.#closing
      const token = await auth.getAccessToken({ audience })
      const userId = userIdIn(auth.session)
      ownUserId ??= userId
      if (userId !== null && userId !== ownUserId) return ofAnotherUser()
      const response = await auth.fetch(url, {
        headers: {
          accept: 'text/event-stream',
          ...(this.#lastEventId !== '' && { 'last-event-id': this.#lastEventId }),
        },
        cache: 'no-store',
        credentials: 'omit',
        redirect: 'manual',
        signal,
      })
      const isStream = response.headers.get('content-type')?.startsWith('text/event-stream')
      if (!response.ok || !isStream || response.body === null) return refusalIn(response)
      this.readyState = this.OPEN
      const onRetry = (ms: number) => void (this.#waitMs = ms)
      const events = readEvents(response.body, { lastEventId: this.#lastEventId, onRetry })
      for await (const event of events) {
        if (signal.aborted) break
        if (isAboutToken(event) && this.#failures === 0 && token !== null) {
          this.#failures = 1
          if ((await auth.getAccessToken({ audience, rejected: token })) !== null) return 'renewed'
        }
        if (event.type === 'message') this.#failures = 0
        this.#lastEventId = event.lastEventId
        this.#emit(event.type, event)
      }
      return endingOf(new AuthClientError('network_error', { message: 'The stream has ended.' }))
    }
  }
}

/** What the stream has delivered is of the user before. */
function ofAnotherUser(): Ending {
  const message = 'Another user has signed in: subscribe again.'
  return { event: new AuthClientError('superseded', { message }), isFinal: true, waitMs: 0 }
}

/** tRPC reports a refusal within the stream. A transformer may have wrapped it. */
function isAboutToken({ type, data }: StreamEvent): boolean {
  return type === 'serialized-error' && data.includes('"reason":"access_token_')
}

/** A request that found no answer may find one later, and one that a sign-in overtook has another token. */
function endingOf(cause: unknown): Ending {
  const error = toAuthClientError(cause)
  const isFinal = isPermanent(error) && error.reason !== 'superseded'
  return { event: error, isFinal, waitMs: waitOf(error.retryAfterSeconds) }
}

/** Only a refusal in tRPC's shape is the service's: a proxy or a captive portal says nothing about the stream. */
async function refusalIn(response: Response): Promise<Ending> {
  const body: unknown = await response.json().catch(() => null)
  const error = field(body, 'error')
  const shape = field(error, 'json') ?? error
  const isService = typeof field(shape, 'code') === 'number'
  const mayPass = response.status >= 500 || response.status === 429
  const message = `The response (HTTP ${response.status}) is no event stream.`
  return {
    event: isService ? { error: shape } : new AuthClientError('unreadable_answer', { message }),
    isFinal: isService && !mayPass,
    waitMs: waitOf(Number(response.headers.get('retry-after'))),
  }
}

function waitOf(seconds: number | null): number {
  return Math.min((seconds || 0) * 1000, longestWaitMs)
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    signal.addEventListener('abort', end)
  })
}
