import type { FencedTransaction, Transaction } from '../connection/transaction.ts'

/** Invalidates all sign-ins in progress, and locks each user's row as `lockUsers` does for some. */
export async function bumpAllEpochs({ tx, txid }: FencedTransaction): Promise<void> {
  await tx`
    update token_ledger.user_epoch
    set epoch = epoch + 1
    where pg_current_xact_id()::text = ${txid}`
}

/**
 * Families of all users that are not over and not past their absolute end, ordered by id. Some may be idle too long.
 * Reads the events and not `open_family`: the index of a restored copy may lack rows.
 *
 * @param page.after the last id of the page before; null for the first page
 */
export async function listAllOpenFamilies(
  tx: Transaction,
  page: { after: string | null; limit: number },
): Promise<string[]> {
  const rows = await tx<{ family_id: string }[]>`
    select f.family_id
    from token_ledger.token_family f
    cross join lateral (
      select kind
      from token_ledger.token_event
      where family_id = f.family_id
      order by seq desc
      limit 1
    ) last
    where (${page.after}::uuid is null or f.family_id > ${page.after}::uuid)
      and f.absolute_expires_at > token_ledger.clock()
      and last.kind not in ('revoked', 'reuse_detected')
    order by f.family_id
    limit ${page.limit}::integer`
  return rows.map((row) => row.family_id)
}
