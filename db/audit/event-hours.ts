import { codeOf } from '../connection/errors.ts'
import type { Statements } from '../connection/connect.ts'

const hourMs = 3_600_000
const shortestMs = 1_000
/** A part that took longer is followed by none that is longer. */
const quickMs = 300
/** Of a statement that ran longer than `statement_timeout`. */
const canceled = '57014'

/**
 * Counts the events of the next part of an hour at each call: see `countEvents`. A part that takes longer than a question
 * of an admin may is counted in shorter ones, down to a second.
 *
 * @returns whether a part was counted; false when none is left, or another process counts
 */
export function createHourCounter({
  statements: sql,
}: Pick<Statements, 'statements'>): () => Promise<boolean> {
  let longestMs = hourMs

  return async function countNext() {
    for (;;) {
      const startedAt = performance.now()
      try {
        const [row] = await sql<{ counted: number }[]>`
          select token_ledger.count_hours(${longestMs}::float8 * interval '1 millisecond') as counted`
        if (performance.now() - startedAt < quickMs) longestMs = Math.min(2 * longestMs, hourMs)
        return row?.counted === 1
      } catch (error) {
        if (codeOf(error) !== canceled || longestMs <= shortestMs) throw error
        longestMs /= 2
      }
    }
  }
}
