import type { Statements } from '../connection/connect.ts'

/**
 * Counts the events of hours that are over, for about a second.
 *
 * @returns how many hours were counted; 0 when none is left, or another process counts
 */
export async function countHours({ statements: sql }: Statements): Promise<number> {
  const [row] = await sql<{ counted: number }[]>`select token_ledger.count_hours() as counted`
  return row?.counted ?? 0
}
