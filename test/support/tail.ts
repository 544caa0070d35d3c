import type { FreshDatabase } from './database.ts'
import { metricOf } from './metrics.ts'
import { waitFor } from './wait.ts'

/** One message of an SSE stream. */
export type TailMessage = { readonly event: string; readonly id: string | null; readonly data: any }

/** `admin.ledger.tail` over a real socket; leaving the loop closes it. */
export function readTail(
  url: string,
  accessToken: string,
  { after, signal }: { after?: string; signal?: AbortSignal } = {},
): AsyncGenerator<TailMessage, void> {
  const input = after === undefined ? {} : { after }
  return readStream(url, { path: 'admin.ledger.tail', accessToken, input, signal })
}

/** A subscription over a real socket; leaving the loop closes it. */
export async function* readStream(
  url: string,
  options: { path: string; accessToken: string; input?: object; signal?: AbortSignal | undefined },
): AsyncGenerator<TailMessage, void> {
  const { path, accessToken, input = {} } = options
  const search = `?input=${encodeURIComponent(JSON.stringify(input))}`
  const leave = new AbortController()
  const signals = options.signal === undefined ? [leave.signal] : [leave.signal, options.signal]
  const response = await fetch(`${url}/trpc/${path}${search}`, {
    headers: { authorization: `Bearer ${accessToken}`, accept: 'text/event-stream' },
    signal: AbortSignal.any(signals),
  })
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`)
  try {
    let text = ''
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      text += chunk
      const blocks = text.split('\n\n')
      text = blocks.pop()!
      for (const block of blocks) yield parse(block)
    }
  } finally {
    leave.abort()
  }
}

/** Waits until the service has this many open tails. */
export async function waitForOpenTails(url: string, count: number): Promise<void> {
  await waitFor(async () => (await metricOf(url, 'token_ledger_open_tails')) === count)
}

/** Waits until a tail has read forward once, so that it shows every event from now on. */
export async function waitForLiveTail({ ownerSql }: FreshDatabase): Promise<void> {
  await waitFor(async () => {
    const reads = await ownerSql`
      select from pg_stat_activity
      where datname = current_database() and application_name = 'token-ledger' and state = 'idle'
        and query like '%e.txid < pg_snapshot_xmin%'`
    return reads.length > 0
  })
}

/** The reason in the last message of a tail that the service refused or ended. */
export async function endOf(tail: AsyncIterable<TailMessage>): Promise<string | null> {
  for await (const { event, data } of tail)
    if (event === 'serialized-error') return data?.data?.reason ?? 'no reason'
  return null
}

/** The events of other families. */
export async function* besides(
  tail: AsyncIterable<TailMessage>,
  familyId: string,
): AsyncGenerator<TailMessage, void> {
  for await (const message of tail) if (message.data?.familyId !== familyId) yield message
}

/** The first `count` events of a tail. */
export async function firstEvents(
  tail: AsyncIterable<TailMessage>,
  count: number,
): Promise<TailMessage[]> {
  const events: TailMessage[] = []
  if (count === 0) return events
  for await (const message of tail) {
    if (message.event !== 'message' || message.id === null) continue
    events.push(message)
    if (events.length === count) break
  }
  return events
}

function parse(block: string): TailMessage {
  const lines = block.split('\n').map((line) => line.split(/: ?(.*)/s))
  const value = (name: string) => lines.find(([key]) => key === name)?.[1] ?? null
  const data = value('data')
  return {
    event: value('event') ?? 'message',
    id: value('id'),
    data: data === null || data === '' ? null : JSON.parse(data),
  }
}
