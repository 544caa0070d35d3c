import type { Database } from './connection/connect.ts'

/** A key as stored; the private half is sealed. */
export type SigningKeyRow = {
  readonly kid: string
  readonly publicJwk: Record<string, string>
  readonly sealedPrivateKey: Buffer
  /** Milliseconds from now until it signs; negative when it does already. */
  readonly signsInMs: number
}

/** All keys, the first to sign first. */
export async function listSigningKeys({ sql }: Database): Promise<SigningKeyRow[]> {
  const rows = await sql<
    { kid: string; public_jwk: string | object; sealed_private_key: Buffer; signs_in_ms: number }[]
  >`
    select
      kid,
      public_jwk,
      sealed_private_key,
      (extract(epoch from signs_from - token_ledger.clock()) * 1000)::float8 as signs_in_ms
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
 * Adds a key, unless there is one already that signs since less than `unlessYoungerThanMs`, or will:
 * of several processes that all find it time, one adds its own.
 *
 * @param options.removeOthers every other key is gone in the same moment
 */
export async function insertSigningKey(
  { sql }: Database,
  key: SigningKeyRow,
  options: { unlessYoungerThanMs: number; removeOthers?: boolean },
): Promise<void> {
  await sql.begin(async (tx) => {
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

/** Seals a key anew, after the secret was changed. */
export async function resealSigningKey(
  { sql }: Database,
  kid: string,
  sealedPrivateKey: Buffer,
): Promise<void> {
  await sql`
    update token_ledger.signing_key
    set sealed_private_key = ${sealedPrivateKey}
    where kid = ${kid}`
}

/** Takes out keys that no token can be signed with any more. */
export async function deleteSigningKeys({ sql }: Database, kids: readonly string[]): Promise<void> {
  await sql`delete from token_ledger.signing_key where kid = any(${kids as string[]})`
}
