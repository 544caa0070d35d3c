import type { SessionId } from './session-id.ts'

/** Ended sessions in the order in which they were added, and an index by their ids. It only grows. */
export type EndedTable = {
  readonly size: number
  isFull(): boolean
  has(id: SessionId): boolean
  /** Call it only for a session that the table does not have, and while it is not full. */
  add(id: SessionId, endedAt: number): void
  at(row: number): { id: SessionId; endedAt: number }
}

const minRows = 1_024
/** Doubling a table of this size takes some milliseconds. More sessions go into more tables. */
export const maxRows = 131_072

/**
 * A hash table with open addressing. A row takes 32 bytes when the table is full: 16 for the id, 8 for the time, and
 * two slots of 4. The hash is the end of the id, which is random in a UUIDv7.
 */
export function createEndedTable(): EndedTable {
  let size = 0
  let words = new Uint32Array(4 * minRows)
  let times = new Float64Array(minRows)
  /** The row of an id plus one; 0 in a free slot. */
  let slots = new Uint32Array(2 * minRows)

  /** The slot of the id, or the free slot that it would get. */
  function slotOf(id: SessionId): number {
    const last = slots.length - 1
    let slot = id[3] & last
    for (;;) {
      const row = slots[slot] ?? 0
      if (row === 0 || isAt(row - 1, id)) return slot
      slot = (slot + 1) & last
    }
  }

  function isAt(row: number, id: SessionId): boolean {
    for (let word = 3; word >= 0; word--) if (words[4 * row + word] !== id[word]) return false
    return true
  }

  function grow(): void {
    words = enlarged(words, new Uint32Array(2 * words.length))
    times = enlarged(times, new Float64Array(2 * times.length))
    slots = new Uint32Array(2 * slots.length)
    for (let row = 0; row < size; row++) slots[slotOf(idAt(row))] = row + 1
  }

  function idAt(row: number): SessionId {
    const [a = 0, b = 0, c = 0, d = 0] = words.subarray(4 * row, 4 * row + 4)
    return [a, b, c, d]
  }

  return {
    get size() {
      return size
    },
    isFull: () => size === maxRows,
    has: (id) => slots[slotOf(id)] !== 0,
    add(id, endedAt) {
      if (size === times.length) grow()
      const slot = slotOf(id)
      words.set(id, 4 * size)
      times[size] = endedAt
      size += 1
      slots[slot] = size
    },
    at: (row) => ({ id: idAt(row), endedAt: times[row] ?? 0 }),
  }
}

function enlarged<T extends Uint32Array | Float64Array>(from: T, to: T): T {
  to.set(from)
  return to
}
