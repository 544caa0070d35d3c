import type { FreshDatabase } from './database.ts'
import { readMessages, type SseMessage } from '../../server/verifier/revocations/sse.ts'

export const feedToken = 'a-token-for-the-feed-of-35-letters'

/** `GET /revocations` over a real socket; leaving the loop closes it. */
export async function* readFeed(
  url: string,
  options: { lastEventId?: string | undefined; signal?: AbortSignal } = {},
): AsyncGenerator<SseMessage & { data: any }, void> {
  const { lastEventId, signal } = options
  const leave = new AbortController()
  const response = await fetch(`${url}/revocations`, {
    headers: {
      authorization: `Bearer ${feedToken}`,
      ...(lastEventId !== undefined && { 'last-event-id': lastEventId }),
    },
    signal: signal === undefined ? leave.signal : AbortSignal.any([leave.signal, signal]),
  })
  if (response.status !== 200) throw new Error(`${response.status} ${await response.text()}`)
  const reader = response.body!.getReader()
  // Node's fetch may have forgotten the signal by the time that it has answered.
  const cancel = () => void reader.cancel().catch(() => {})
  signal?.addEventListener('abort', cancel)
  try {
    yield* readMessages(reader, () => {})
  } finally {
    cancel()
    leave.abort()
  }
}

/** What the feed has told when it first says that this is all. */
export async function toldAtFirst(
  url: string,
  lastEventId?: string,
): Promise<(SseMessage & { data: any })[]> {
  const told: SseMessage[] = []
  for await (const message of readFeed(url, { lastEventId })) {
    if (message.event === 'checked') break
    told.push(message)
  }
  return told
}

/** Waits until this process has looked for ends twice more. */
export async function twoLooksOf(url: string): Promise<void> {
  let looks = 0
  for await (const { event } of readFeed(url)) if (event === 'checked' && ++looks === 3) break
}

/** From now on nobody who looks for ends is answered in time, once there is one. */
export async function slowLooks({ ownerSql }: FreshDatabase): Promise<void> {
  await ownerSql.unsafe(`
    create function public.slow(text) returns boolean language plpgsql volatile as $$
    begin
      perform pg_sleep(30);
      return true;
    end $$;
    alter table token_ledger.token_event enable row level security;
    create policy slow on token_ledger.token_event to token_ledger_app
    using (position('order by occurred_at desc' in current_query()) = 0 or public.slow(kind))
    with check (true)`)
}
