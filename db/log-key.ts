import type { Database } from './connection/connect.ts'
import { fenced, inTransaction } from './connection/transaction.ts'
import { epochMs, instantParam } from './instant.ts'
import type { SigningKeyRow } from './signing-keys.ts'

/** The key of the log as stored: it signs from the moment it was made. */
type LogKeyRow = Pick<SigningKeyRow, 'kid' | 'sealedPrivateKey' | 'createdAt'>

export async function readLogKey({
  statements: sql,
}: Pick<Database, 'statements'>): Promise<LogKeyRow | null> {
  const [row] = await sql<{ kid: string; sealedPrivateKey: Buffer; createdAt: number }[]>`
    select
      kid,
      sealed_private_key as "sealedPrivateKey",
      ${epochMs(sql, 'created_at')} as "createdAt"
    from token_ledger.log_key
    order by created_at, kid
    limit 1`
  return row ?? null
}

/** Stores the key unless another process has stored one. */
export async function insertFirstLogKey({ transactions }: Database, key: LogKeyRow): Promise<void> {
  await inTransaction(transactions, async (tx) => {
    await tx`select token_ledger.take_turn('signing_keys')`
    const { txid } = await fenced(tx)
    await tx`
      insert into token_ledger.log_key (kid, sealed_private_key, created_at)
      select ${key.kid}, ${key.sealedPrivateKey}, ${instantParam(key.createdAt)}::timestamptz
      where pg_current_xact_id()::text = ${txid} and not exists (select from token_ledger.log_key)`
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
