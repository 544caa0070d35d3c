import type { FencedTransaction } from '../connection/transaction.ts'

/**
 * Sets IP addresses, user agents and device names of the user to null: in all sessions of the user, ended ones
 * too, and in events of other sessions where the user was the actor. Only the owner of the tables may do it,
 * not the service's role.
 *
 * @returns how many rows were changed
 */
export async function eraseTraces(
  { tx, txid }: FencedTransaction,
  userId: string,
): Promise<number> {
  // No index finds the events by actor, so this reads the whole ledger.
  await tx`set local statement_timeout = 0`
  const [row] = await tx<{ erased: number }[]>`
    select token_ledger.erase_traces(${userId}::uuid) as erased
    where pg_current_xact_id()::text = ${txid}`
  if (row === undefined) throw new Error('the erasure did not run in its transaction')
  return row.erased
}
