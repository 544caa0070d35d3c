import type { Database } from '../../db/connection/connect.ts'
import { changePoints } from '../../db/limit-counts.ts'
import type { Bound } from './bounds.ts'

/** What is counted against a bound: one account, one network, one family. */
export type Count = { readonly bound: Bound; readonly key: string }

/** A count that is over its bound. */
export type Exceeded = { readonly bound: Bound; readonly msLeft: number }

/** Counts in Postgres, which hold across processes. What is over its bound is refused from memory. */
export type Counters = {
  /**
   * Adds points to each count, one unless given, or to none if one of them would exceed its bound.
   *
   * @returns the counts that are over
   */
  take(counts: readonly Count[], points?: number): Promise<readonly Exceeded[]>
  giveBack(counts: readonly Count[], points?: number): Promise<void>
  /** Sets the counts `cleared` to 0, gives `returned` back and takes `taken`, whatever their bounds. */
  settle(changes: {
    cleared: readonly Count[]
    returned: readonly Count[]
    taken: readonly Count[]
  }): Promise<readonly Exceeded[]>
  /** Those of the counts that this process knows to be over, without a query. */
  known(counts: readonly Count[]): readonly Exceeded[]
  /** Refuses this count from memory for a while. */
  block(count: Count, msLeft: number): void
}

/** A block is asked again after this long: another process may have cleared the count meanwhile. */
const maxBlockMs = 60_000

/** Some 20 MB. The oldest is forgotten, and costs one statement to learn again. */
const maxBlocks = 100_000

/** How soon to come back to a bound that questions under way already reach. */
const crowdedMs = 1_000

/** More than any count has. */
const all = 1_000_000_000

export function createCounters(database: Database): Counters {
  const blocks = new Map<string, { readonly until: number; readonly overUntil: number }>()
  /** Points that are being taken from each count now. */
  const underWay = new Map<string, number>()

  /**
   * Counts that are over their bounds if the points under way are granted. So a flood of one caller does not fill the
   * pool with statements that the bound refuses.
   */
  function crowded(counts: readonly Count[], points: number): Exceeded[] {
    return counts.flatMap((count) => {
      const taken = underWay.get(keyOf(count)) ?? 0
      const isOver = taken > 0 && taken + points > count.bound.points
      return isOver ? [{ bound: count.bound, msLeft: crowdedMs }] : []
    })
  }

  function note(counts: readonly Count[], points: number): void {
    for (const key of counts.map(keyOf)) {
      const taken = (underWay.get(key) ?? 0) + points
      if (taken > 0) underWay.set(key, taken)
      else underWay.delete(key)
    }
  }

  function known(counts: readonly Count[]): Exceeded[] {
    const now = performance.now()
    return counts.flatMap((count) => {
      const found = blocks.get(keyOf(count))
      return found !== undefined && now < found.until
        ? [{ bound: count.bound, msLeft: found.overUntil - now }]
        : []
    })
  }

  function block(count: Count, msLeft: number): void {
    const now = performance.now()
    blocks.delete(keyOf(count))
    blocks.set(keyOf(count), {
      until: now + Math.min(msLeft, maxBlockMs),
      overUntil: now + msLeft,
    })
    const [oldest] = blocks.keys()
    if (blocks.size > maxBlocks && oldest !== undefined) blocks.delete(oldest)
  }

  async function change(
    changes: readonly { count: Count; points: number }[],
  ): Promise<readonly (Exceeded & { count: Count })[]> {
    const rows = await changePoints(
      database,
      changes.map(({ count, points }) => {
        return { key: keyOf(count), points, durationMs: count.bound.durationMs }
      }),
    )
    const byKey = new Map(rows.map((row) => [row.key, row]))
    return changes.flatMap(({ count, points }) => {
      const { bound } = count
      if (points < 0) blocks.delete(keyOf(count))
      const row = byKey.get(keyOf(count))
      const isOver = points > 0 && row !== undefined && row.points > bound.points
      return isOver ? [{ count, bound, msLeft: row.msLeft }] : []
    })
  }

  return {
    known,
    block,
    async take(counts, points = 1) {
      const blocked = known(counts)
      if (blocked.length > 0 || counts.length === 0) return blocked
      const refused = crowded(counts, points)
      if (refused.length > 0) return refused
      note(counts, points)
      const over = await change(counts.map((count) => ({ count, points }))).finally(() =>
        note(counts, -points),
      )
      if (over.length > 0) await this.giveBack(counts, points)
      for (const { count, msLeft } of over) block(count, msLeft)
      return over
    },
    async giveBack(counts, points = 1) {
      if (counts.length > 0) await change(counts.map((count) => ({ count, points: -points })))
    },
    async settle({ cleared, returned, taken }) {
      const over = await change([
        ...cleared.map((count) => ({ count, points: -all })),
        ...returned.map((count) => ({ count, points: -1 })),
        ...taken.map((count) => ({ count, points: 1 })),
      ])
      for (const { count, msLeft } of over) block(count, msLeft)
      return over
    },
  }
}

function keyOf({ bound, key }: Count): string {
  return `${bound.name}:${key}`
}
