import type { Database } from '../connection/connect.ts'

/**
 * Creates the missing partitions of this month and the next three.
 *
 * It waits for transactions that write to the ledger. On the pool for statements it could hold the connection
 * that one of them needs, so it takes the other pool, although it is a single statement.
 *
 * @returns how many were created
 * @throws when the default partition already holds families of such a month. They stay there, and the service
 * works as before
 */
export async function ensurePartitions({ transactions }: Database): Promise<number> {
  const [row] = await transactions<
    { made: number }[]
  >`select token_ledger.ensure_partitions() as made`
  return row?.made ?? 0
}
