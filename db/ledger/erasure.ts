import type { FencedTransaction } from '../connection/transaction.ts'

/**
 * Nulls addresses, user agents and device names of the user, in ended sessions, too, and where they acted
 * on others. For the owner of the tables alone: the service has no right to it.
 *
 * @returns how many rows held something
 */
export async function eraseTraces(
  { tx, txid }: FencedTransaction,
  userId: string,
): Promise<number> {
  // Nothing finds where somebody acted but reading everything.
  await tx`set local statement_timeout = 0`
  const [row] = await tx<{ erased: number }[]>`
    select token_ledger.erase_traces(${userId}::uuid) as erased
    where pg_current_xact_id()::text = ${txid}`
  if (row === undefined) throw new Error('an erasure outside of its transaction')
  return row.erased
}
