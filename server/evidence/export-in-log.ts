import type { HashSet } from './hash-set.ts'

/** An event of an export that the log does not have: it was changed after it was logged, or never was in the ledger. */
export type EventOutsideLog = { readonly familyId: string; readonly seq: number }

/**
 * Passes the lines of an export on, and reports each event whose hash is no entry of the log. Whether the hash is that of
 * its content, and whether the lines are an export at all, is for their reader to check.
 */
export async function* comparingWithLog(
  lines: AsyncIterable<string>,
  entries: Pick<HashSet, 'has'>,
  report: (event: EventOutsideLog) => void,
): AsyncGenerator<string> {
  for await (const line of lines) {
    const event = eventIn(line)
    if (event !== null && !entries.has(Buffer.from(event.hash, 'hex'))) report(event)
    yield line
  }
}

function eventIn(line: string): (EventOutsideLog & { readonly hash: string }) | null {
  try {
    const { record, familyId, seq, hash } = JSON.parse(line) as Record<string, unknown>
    const isEvent = record === 'event' && typeof familyId === 'string' && typeof hash === 'string'
    return isEvent ? { familyId, seq: Number(seq), hash } : null
  } catch {
    return null
  }
}
