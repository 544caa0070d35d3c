import type { Database } from './connection/connect.ts'
import { fenced, inTransaction } from './connection/transaction.ts'
import { epochMs, instantParam } from './instant.ts'
import type { SigningKeyRow } from './signing-keys.ts'

/** A key of the log as stored: it signs from the moment it was made. */
type LogKeyRow = Pick<SigningKeyRow, 'kid' | 'sealedPrivateKey' | 'createdAt'>

/** The oldest first. */
export async function readLogKeys({
  statements: sql,
}: Pick<Database, 'statements'>): Promise<LogKeyRow[]> {
  return sql<LogKeyRow[]>`
    select
      kid,
      sealed_private_key as "sealedPrivateKey",
      ${epochMs(sql, 'created_at')} as "createdAt"
    from token_ledger.log_key
    order by created_at, kid`
}

/** Stores a key unless there are `limit` already. */
export async function insertLogKey(
  { transactions }: Database,
  key: LogKeyRow,
  limit: number,
): Promise<boolean> {
  return inTransaction(transactions, async (tx) => {
    await tx`select token_ledger.take_turn('signing_keys')`
    const { txid } = await fenced(tx)
    const { count } = await tx`
      insert into token_ledger.log_key (kid, sealed_private_key, created_at)
      select ${key.kid}, ${key.sealedPrivateKey}, ${instantParam(key.createdAt)}::timestamptz
      where pg_current_xact_id()::text = ${txid}
        and (select count(*) from token_ledger.log_key) < ${limit}::integer`
    return count === 1
  })
}

/** Replaces the sealed private half, after the secret that seals it has changed. */
export async function resealLogKey(
  { statements: sql }: Pick<Database, 'statements'>,
  { kid, sealedPrivateKey }: LogKeyRow,
): Promise<void> {
  await sql`
    update token_ledger.log_key set sealed_private_key = ${sealedPrivateKey} where kid = ${kid}`
}
