import { useEffect, useRef, useState } from 'react'
import { trpc } from '../../service.ts'
import type { Outputs } from '../../outputs.ts'

export type Verdict = Outputs['admin']['ledger']['verify']
export type Progress = {
  readonly checked: number
  readonly total: number | null
  readonly broken: number
}

export type Check =
  | { readonly status: 'idle' }
  | { readonly status: 'running' | 'cancelled'; readonly progress: Progress }
  | { readonly status: 'done'; readonly verdict: Verdict }
  | { readonly status: 'failed'; readonly error: unknown }

const none: Progress = { checked: 0, total: null, broken: 0 }

/** A check of the whole ledger, which runs in the service as long as a page follows it. */
export function useVerification() {
  const [check, setCheck] = useState<Check>({ status: 'idle' })
  const stream = useRef<{ unsubscribe(): void } | null>(null)
  useEffect(() => () => stream.current?.unsubscribe(), [])

  function start(): void {
    setCheck({ status: 'running', progress: none })
    stream.current = trpc.admin.ledger.verification.subscribe(
      {},
      {
        onData: (message) =>
          setCheck(
            'result' in message
              ? { status: 'done', verdict: message.result }
              : { status: 'running', progress: message.progress },
          ),
        onError: (error) => setCheck({ status: 'failed', error }),
      },
    )
  }

  function cancel(): void {
    stream.current?.unsubscribe()
    setCheck((last) =>
      last.status === 'running' ? { status: 'cancelled', progress: last.progress } : last,
    )
  }

  return { check, start, cancel }
}
