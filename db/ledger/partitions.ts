import type { Database } from '../connection/connect.ts'
import { codeOf } from '../connection/errors.ts'

/**
 * Creates the missing partitions of this month and the next three, and moves rows of theirs from the default
 * partition.
 *
 * It waits for transactions that write to the ledger. On the pool for statements it could hold the connection
 * that one of them needs, so it takes the other pool, although it is a single statement.
 *
 * @returns how many were created
 * @throws when a month could not be made, after all others were. The service works as before
 */
export async function ensurePartitions({ transactions }: Database): Promise<number> {
  let made = 0
  try {
    for (;;) {
      const [row] = await transactions<
        { made: number }[]
      >`select token_ledger.ensure_partitions() as made`
      // The call that has nothing left to make raises what kept a month from being made.
      if (!row?.made) return made
      made += row.made
    }
  } catch (error) {
    if (!(error instanceof Error)) throw error
    // A plain Error, whose message is logged: the statement has no parameters that it could quote.
    throw Object.assign(new Error(error.message, { cause: error }), { code: codeOf(error) })
  }
}
