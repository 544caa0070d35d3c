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
  // After its answer, Node's fetch may ignore the signal.
  const cancel = () => void reader.cancel().catch(() => {})
  signal?.addEventListener('abort', cancel)
  try {
    yield* readMessages(reader, () => {})
  } finally {
    cancel()
    leave.abort()
  }
}

/** The messages of the feed before its first `checked`: all ends that the process knows. */
export async function readFeedSoFar(
  url: string,
  lastEventId?: string,
): Promise<(SseMessage & { data: any })[]> {
  const ends: SseMessage[] = []
  for await (const message of readFeed(url, { lastEventId })) {
    if (message.event === 'checked') break
    ends.push(message)
  }
  return ends
}

/** Waits until this process has polled for ends twice more. */
export async function waitForTwoPolls(url: string): Promise<void> {
  let polls = 0
  for await (const { event } of readFeed(url)) if (event === 'checked' && ++polls === 3) break
}

/** From now on a poll for ends gets no answer in time, once an end exists, until `letPollsGoOn`. */
export async function slowDownPolls({ ownerSql }: FreshDatabase): Promise<void> {
  await ownerSql.unsafe(`
    create table public.slowness (is_over boolean);
    insert into public.slowness values (false);
    create function public.slow(text) returns boolean
    language plpgsql volatile security definer as $$
    begin
      for i in 1 .. 600 loop
        exit when (select is_over from public.slowness);
        perform pg_sleep(0.05);
      end loop;
      return true;
    end $$;
    alter table token_ledger.token_event enable row level security;
    create policy slow on token_ledger.token_event to token_ledger_app
    using (position('order by occurred_at, family_id' in current_query()) = 0 or public.slow(kind))
    with check (true)`)
}

export async function letPollsGoOn({ ownerSql }: FreshDatabase): Promise<void> {
  await ownerSql`update public.slowness set is_over = true`
}
