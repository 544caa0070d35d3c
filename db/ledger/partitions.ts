import type { Database } from '../connection/connect.ts'

/**
 * Makes the partitions of this month and the next three, where they are missing.
 *
 * @returns how many were made
 * @throws when the default partition has taken families of such a month already: they stay there, and the
 * ledger goes on as before
 */
export async function ensurePartitions({ transactions }: Database): Promise<number> {
  const [row] = await transactions<
    { made: number }[]
  >`select token_ledger.ensure_partitions() as made`
  return row?.made ?? 0
}
