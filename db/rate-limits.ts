import type { Statements } from './connection/connect.ts'

/**
 * Deletes counts of the rate limits that expired before `expiredBefore` (epoch milliseconds), oldest first.
 *
 * @returns how many were deleted, `limit` at most
 */
export async function deleteStaleCounts(
  { statements }: Statements,
  expiredBefore: number,
  limit: number,
): Promise<number> {
  // The order makes it read the index on `expire` alone, however many rows the planner expects.
  const deleted = await statements`
    delete from token_ledger.rate_limit
    where key = any(array(
      select key
      from token_ledger.rate_limit
      where expire < ${expiredBefore}::bigint
      order by expire
      limit ${limit}::integer))`
  return deleted.count
}
