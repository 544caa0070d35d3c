import { useEffect, useMemo, useRef, useState, useSyncExternalStore } from 'react'

import { mayPass, retryDelayMs } from '../../problems.ts'
import { trpc } from '../../service.ts'
import { createTailBuffer, type TailView } from './tail-buffer.ts'

import type { LedgerEvent } from './event-columns.tsx'

/** As many as a reader scrolls through. What is older is found by the search. */
const capacity = 2_000

export type TailState = 'connecting' | 'live' | 'waiting' | 'paused' | 'ended'

export type Tail = TailView<LedgerEvent> & {
  readonly state: TailState
  /** Why the stream waits or has ended. */
  readonly problem: unknown
  readonly pause: () => void
  /** Goes on behind the last event that came, so that none is missed. */
  readonly resume: () => void
  /** Goes on with the events from now on. */
  readonly skipToNow: () => void
}

/** A reader follows no more changes than five a second, and clicks are answered between them. */
const showEveryMs = 200

/** Without an answer, the next attempt is at most 16 to 32 s later. */
const mostDoublings = 4

function atFrameSoon(run: () => void): void {
  setTimeout(() => requestAnimationFrame(run), showEveryMs)
}

/** The events of the ledger as they are written, each once. While it is paused, the page has no stream open. */
export function useTail(accepts: (event: LedgerEvent) => boolean): Tail {
  const buffer = useMemo(
    () => createTailBuffer<LedgerEvent>({ capacity, atNextFrame: atFrameSoon }),
    [],
  )
  const view = useSyncExternalStore(buffer.subscribe, buffer.view)
  const lastPosition = useRef<string | undefined>(undefined)
  const [state, setState] = useState<TailState>('connecting')
  const [problem, setProblem] = useState<unknown>(null)
  const isPaused = state === 'paused'

  useEffect(() => buffer.filter(accepts), [buffer, accepts])
  useEffect(() => {
    if (isPaused) return
    let stream: { unsubscribe(): void } | null = null
    let hasLeft = false
    const onProblem = (error: unknown, next: TailState) => {
      if (hasLeft) return
      setProblem(error)
      setState(next)
    }
    const begin = async () => {
      const after =
        lastPosition.current ??
        (await positionOfNow({
          hasLeft: () => hasLeft,
          onFailure: (error) => onProblem(error, 'waiting'),
        }))
      if (hasLeft) return
      lastPosition.current = after
      stream = trpc.admin.ledger.tail.subscribe(
        { after },
        {
          onStarted: () => setState('live'),
          onData: ({ id, data }) => {
            lastPosition.current = id
            buffer.push(data)
          },
          onConnectionStateChange: ({ state: connection, error }) => {
            setProblem(error)
            if (connection === 'connecting') setState(error === null ? 'connecting' : 'waiting')
          },
          onError: (error) => {
            setProblem(error)
            setState('ended')
          },
        },
      )
    }
    begin().catch((error: unknown) => onProblem(error, 'ended'))
    return () => {
      hasLeft = true
      stream?.unsubscribe()
    }
  }, [buffer, isPaused])

  return {
    ...view,
    state,
    problem,
    pause: () => setState('paused'),
    resume: () => setState('connecting'),
    skipToNow() {
      lastPosition.current = undefined
      buffer.clear()
      setState('connecting')
    },
  }
}

/**
 * Where the tail begins, so that a stream that is interrupted before its first event misses none. Asks until the
 * service answers, or the screen is left.
 *
 * @throws what the service refuses with
 */
async function positionOfNow({
  hasLeft,
  onFailure,
}: {
  readonly hasLeft: () => boolean
  readonly onFailure: (error: unknown) => void
}): Promise<string | undefined> {
  for (let failures = 0; !hasLeft(); failures += 1)
    try {
      return (await trpc.admin.ledger.position.query()).position
    } catch (error) {
      if (!mayPass(error)) throw error
      onFailure(error)
      await pause(retryDelayMs(Math.min(failures, mostDoublings), error))
    }
  return undefined
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
