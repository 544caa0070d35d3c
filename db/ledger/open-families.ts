import type { Database } from '../connection/connect.ts'

/**
 * Removes families that expired for good from the table of open families. Their users' next sign-ins would do it, too.
 *
 * @returns how many were removed
 */
export async function sweepOpenFamilies({ transactions }: Database): Promise<number> {
  const [row] = await transactions<
    { swept: number }[]
  >`select token_ledger.sweep_open_families() as swept`
  return row?.swept ?? 0
}
