import type postgres from 'postgres'
import { fenced, type FencedTransaction, type Transaction } from './connection/transaction.ts'
import { epochMs, instantParam } from './instant.ts'

/** A key as stored; the private half is sealed. Only what the seal covers may be believed. */
export type SigningKeyRow = {
  readonly kid: string
  readonly sealedPrivateKey: Buffer
  /** Epoch milliseconds of the database's clock. */
  readonly createdAt: number
  /** The key is published before this instant, and signs from it until the next key does. */
  readonly signsFromAt: number
}

/** The stored keys in the order in which they start to sign, with the database's time (epoch milliseconds). */
export type StoredKeys = {
  readonly now: number
  readonly rows: readonly SigningKeyRow[]
  /** Keys whose rows are back although they were deleted. */
  readonly removed: readonly string[]
}

export async function listSigningKeys(sql: postgres.Sql | Transaction): Promise<StoredKeys> {
  const found = await sql<
    {
      now: number
      kid: string | null
      sealed_private_key: Buffer
      created_at: number
      signs_from: number
      is_removed: boolean
    }[]
  >`
    select
      ${epochMs(sql, 'c.now')} as now,
      k.kid,
      k.sealed_private_key,
      ${epochMs(sql, 'k.created_at')} as created_at,
      ${epochMs(sql, 'k.signs_from')} as signs_from,
      exists (select from token_ledger.signing_key_removal r where r.kid = k.kid) as is_removed
    from (select token_ledger.clock() as now) c
    left join token_ledger.signing_key k on true
    order by k.signs_from, k.kid`
  const stored = found.flatMap((row) => (row.kid === null ? [] : [{ ...row, kid: row.kid }]))
  return {
    now: found[0]?.now ?? 0,
    rows: stored
      .filter((row) => !row.is_removed)
      .map((row) => ({
        kid: row.kid,
        sealedPrivateKey: row.sealed_private_key,
        createdAt: row.created_at,
        signsFromAt: row.signs_from,
      })),
    removed: stored.filter((row) => row.is_removed).map(({ kid }) => kid),
  }
}

/** Makes this transaction the only one that adds or deletes keys, and reads them. */
export async function lockSigningKeys(tx: Transaction): Promise<FencedTransaction & StoredKeys> {
  await tx`select token_ledger.take_turn('signing_keys')`
  return { ...(await fenced(tx)), ...(await listSigningKeys(tx)) }
}

/** @param publicJwk for processes of versions before 0016, which publish it */
export async function insertSigningKey(
  { tx, txid }: FencedTransaction,
  key: SigningKeyRow,
  publicJwk: object,
): Promise<void> {
  const written = await tx`
    insert into token_ledger.signing_key (kid, public_jwk, sealed_private_key, created_at, signs_from)
    select
      ${key.kid}, ${JSON.stringify(publicJwk)}::jsonb, ${key.sealedPrivateKey},
      ${instantParam(key.createdAt)}::timestamptz, ${instantParam(key.signsFromAt)}::timestamptz
    where pg_current_xact_id()::text = ${txid}`
  if (written.count !== 1) throw new Error('the signing key was not written in its transaction')
}

/** Deletes all keys but one. Their rows are not used again, even if they come back. */
export async function deleteOtherSigningKeys(
  { tx, txid }: FencedTransaction,
  kid: string,
): Promise<void> {
  await tx`
    delete from token_ledger.signing_key
    where kid <> ${kid} and pg_current_xact_id()::text = ${txid}`
}

/** Deletes keys for good. The caller makes sure that every token signed with them has expired. */
export async function deleteSigningKeys(
  { tx, txid }: FencedTransaction,
  kids: readonly string[],
): Promise<void> {
  await tx`
    delete from token_ledger.signing_key
    where kid = any(${kids as string[]}) and pg_current_xact_id()::text = ${txid}`
}

/** Replaces a key's sealed private half, after the secret that seals it has changed. */
export async function resealSigningKey(
  sql: postgres.Sql,
  { kid, sealedPrivateKey }: SigningKeyRow,
): Promise<void> {
  await sql`
    update token_ledger.signing_key
    set sealed_private_key = ${sealedPrivateKey}
    where kid = ${kid}`
}
