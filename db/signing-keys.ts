import type { Database } from './connection/connect.ts'
import { epochMs } from './instant.ts'

/** A key as stored; the private half is sealed. */
export type SigningKeyRow = {
  readonly kid: string
  readonly publicJwk: Record<string, string>
  readonly sealedPrivateKey: Buffer
  /** Milliseconds until the key starts to sign, by the database's clock; not above 0 once it has. */
  readonly signsInMs: number
}

/** All keys, in the order in which they start to sign. */
export async function listSigningKeys({ statements }: Database): Promise<SigningKeyRow[]> {
  const rows = await statements<
    { kid: string; public_jwk: string | object; sealed_private_key: Buffer; signs_in_ms: number }[]
  >`
    select
      kid,
      public_jwk,
      sealed_private_key,
      ${epochMs(statements, 'signs_from - token_ledger.clock()')} as signs_in_ms
    from token_ledger.signing_key
    order by signs_from, kid`
  return rows.map((row) => ({
    kid: row.kid,
    publicJwk: row.public_jwk as Record<string, string>,
    sealedPrivateKey: row.sealed_private_key,
    signsInMs: row.signs_in_ms,
  }))
}

/**
 * Adds a key, unless another one started to sign less than `unlessYoungerThanMs` ago, or starts later. So when
 * several processes try at once, one of them adds its key.
 *
 * @param options.removeOthers deletes all other keys in the same transaction
 */
export async function insertSigningKey(
  { transactions }: Database,
  key: SigningKeyRow,
  options: { unlessYoungerThanMs: number; removeOthers?: boolean },
): Promise<void> {
  await transactions.begin(async (tx) => {
    await tx`select token_ledger.take_turn('signing_keys')`
    if (options.removeOthers === true) await tx`delete from token_ledger.signing_key`
    await tx`
      insert into token_ledger.signing_key (kid, public_jwk, sealed_private_key, created_at, signs_from)
      select
        ${key.kid}, ${JSON.stringify(key.publicJwk)}::jsonb, ${key.sealedPrivateKey}, token_ledger.clock(),
        token_ledger.clock() + ${key.signsInMs}::float8 * interval '1 millisecond'
      where not exists (
        select
        from token_ledger.signing_key
        where extract(epoch from token_ledger.clock() - signs_from) * 1000 < ${options.unlessYoungerThanMs}::float8
      )`
  })
}

/** Replaces a key's sealed private half, after the secret that seals it has changed. */
export async function resealSigningKey(
  { statements }: Database,
  kid: string,
  sealedPrivateKey: Buffer,
): Promise<void> {
  await statements`
    update token_ledger.signing_key
    set sealed_private_key = ${sealedPrivateKey}
    where kid = ${kid}`
}

/** Deletes keys. The caller makes sure that every token signed with them has expired. */
export async function deleteSigningKeys(
  { statements }: Database,
  kids: readonly string[],
): Promise<void> {
  await statements`delete from token_ledger.signing_key where kid = any(${kids as string[]})`
}
