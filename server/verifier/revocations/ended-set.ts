import { accessTokenRetentionMs } from '../access-token-life.ts'
import { createEndedTable, type EndedTable } from './ended-table.ts'
import { createIdFilter, type IdFilter } from './id-filter.ts'
import { formatSessionId, parseSessionId, type SessionId } from './session-id.ts'

/** How long an ended session is remembered: all its access tokens have expired then. */
export const endedRetentionMs = accessTokenRetentionMs

/** 130 MB when it is full. That takes 4,000 ends a second for 16 minutes, or the end of everyone's sessions. */
export const maxEndedSessions = 4_000_000

export type Ended = {
  readonly familyId: string
  /** Epoch milliseconds by the database's clock. */
  readonly endedAt: number
}

/** Recently ended sessions, in the order in which they were added. */
export type EndedSet = {
  /** `perhaps` for a session that came when the set was full, and for some that have not ended: ask the service. */
  find(familyId: string): 'ended' | 'perhaps' | 'no'
  add(ended: readonly Ended[]): void
  /** How many sessions it holds, without those that came when it was full. */
  readonly size: number
  /** False while `after` lacks sessions, because they came when the set was full. */
  isComplete(): boolean
  /**
   * Up to `limit` sessions added after `position`, and the position of the last of them. For 0 and for an
   * unknown position it starts with the first session.
   */
  after(position: number, limit: number): { ended: readonly Ended[]; position: number }
}

/** Sessions that were added within an eighth of the retention: they are forgotten together. */
type Slice = {
  readonly table: EndedTable
  readonly startedAt: number
  addedAt: number
  lastEndedAt: number
}

/**
 * Each session is kept for at least `retentionMs` after it was added, and as long after `endedAt`. No access token of it
 * was signed later than that by the same clock. If the clock was ahead for a while, the tokens that were signed then
 * become valid only when their time comes.
 *
 * An ended session never becomes active again, so keeping one too long or adding it twice does no harm.
 *
 * @param now the clock of `endedAt`, in epoch milliseconds
 */
export function createEndedSet(
  retentionMs: number,
  capacity: number,
  now: () => number = Date.now,
): EndedSet {
  let slices: Slice[] = []
  let size = 0
  /** How many sessions were removed: the position before the first one. */
  let forgotten = 0
  let overflow: { readonly filter: IdFilter; addedAt: number } | null = null

  function forget(at: number): void {
    const isKept = ({ addedAt }: { addedAt: number }) => addedAt + retentionMs > at
    let ofTheFuture: { id: SessionId; endedAt: number }[] = []
    const forgottenBefore = now() - retentionMs
    while (slices[0] !== undefined && !isKept(slices[0])) {
      const { table, lastEndedAt } = slices.shift() as Slice
      size -= table.size
      forgotten += table.size
      if (lastEndedAt > forgottenBefore)
        ofTheFuture = ofTheFuture.concat(rowsSince(table, forgottenBefore))
    }
    for (const { id, endedAt } of ofTheFuture) addOne(id, endedAt, at)
    if (overflow !== null && !isKept(overflow)) overflow = null
  }

  function addOne(id: SessionId, endedAt: number, at: number): void {
    if (size >= capacity) {
      overflow ??= { filter: createIdFilter(), addedAt: at }
      overflow.filter.add(id)
      overflow.addedAt = at
      return
    }
    let slice = slices.at(-1)
    if (slice === undefined || slice.table.isFull() || at - slice.startedAt > retentionMs / 8) {
      slice = { table: createEndedTable(), startedAt: at, addedAt: at, lastEndedAt: endedAt }
      slices.push(slice)
    }
    slice.table.add(id, endedAt)
    slice.addedAt = at
    slice.lastEndedAt = Math.max(slice.lastEndedAt, endedAt)
    size += 1
  }

  const isKnown = (id: SessionId) => slices.some(({ table }) => table.has(id))

  return {
    get size() {
      return size
    },
    find(familyId) {
      const id = parseSessionId(familyId)
      if (id === null) return 'no'
      if (isKnown(id)) return 'ended'
      return overflow?.filter.mayHave(id) ? 'perhaps' : 'no'
    },
    add(ended) {
      const at = performance.now()
      forget(at)
      for (const { familyId, endedAt } of ended) {
        const id = parseSessionId(familyId)
        if (id === null) throw new TypeError('the id of a session is a UUID')
        if (!isKnown(id)) addOne(id, endedAt, at)
      }
    },
    isComplete: () => overflow === null || performance.now() >= overflow.addedAt + retentionMs,
    after(position, limit) {
      const asked = position - forgotten
      const from = asked < 0 || asked > size ? 0 : asked
      const ended: Ended[] = []
      let skip = from
      for (const { table } of slices) {
        for (let row = skip; row < table.size && ended.length < limit; row++) {
          const { id, endedAt } = table.at(row)
          ended.push({ familyId: formatSessionId(id), endedAt })
        }
        skip = Math.max(0, skip - table.size)
        if (ended.length === limit) break
      }
      return { ended, position: forgotten + from + ended.length }
    },
  }
}

function rowsSince(table: EndedTable, sinceAt: number): { id: SessionId; endedAt: number }[] {
  const rows = Array.from({ length: table.size }, (_, row) => table.at(row))
  return rows.filter(({ endedAt }) => endedAt > sinceAt)
}
