import type { Statements } from '../connection/connect.ts'
import { inTransaction } from '../connection/transaction.ts'

/**
 * Counts the events of hours that are over, for about a second, or for as long as one busy hour takes.
 *
 * @returns how many hours were counted; 0 when none is left, or another process counts
 */
export async function countHours({ statements: sql }: Statements): Promise<number> {
  return inTransaction(sql, async (tx) => {
    // Longer than a question of an admin may take: the same hour would fail each time. A socket is closed when an
    // answer takes more than 12 seconds.
    await tx`set local statement_timeout = '10s'`
    const [row] = await tx<{ counted: number }[]>`select token_ledger.count_hours() as counted`
    return row?.counted ?? 0
  })
}
