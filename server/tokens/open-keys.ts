import { createPrivateKey, createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto'
import { calculateJwkThumbprint, importJWK, type CryptoKey, type JWK } from 'jose'
import type { SigningKeyRow } from '../../db/signing-keys.ts'
import { accessTokenRetentionMs } from '../verifier/access-token-life.ts'
import { openSeal, type Secrets } from './key-seal.ts'

export type SigningKey = {
  readonly kid: string
  /** The protected header of its tokens (RFC 9068 §2.1), encoded. */
  readonly jwsHeader: string
  readonly privateKey: KeyObject
}

/** A key whose parts all come from what the seal covers. */
export type OpenedKey = SigningKey & {
  readonly publicJwk: JWK
  readonly publicKey: CryptoKey
  /** Epoch milliseconds of the database's clock. */
  readonly signsFromAt: number
  readonly coversTimes: boolean
  /** As it was sealed, if by another secret than the first. */
  readonly toReseal: { readonly row: SigningKeyRow; readonly privateJwk: string } | null
}

/** A row that is not used, and why. */
export type SkippedKey = { readonly kid: string; readonly problem: string }

export const cannotDecrypt = 'AUTH_SECRET cannot decrypt it, or its row was changed'

/**
 * Opens the keys, in the order in which they start to sign. A row that cannot be used is skipped.
 *
 * @param known keys that were opened before, which are not opened again
 */
export async function openKeys(
  rows: readonly SigningKeyRow[],
  secrets: Secrets,
  known: readonly OpenedKey[] = [],
): Promise<{ keys: OpenedKey[]; skipped: SkippedKey[] }> {
  const found = await Promise.all(
    rows.map(async (row) => known.find(({ kid }) => kid === row.kid) ?? openKey(row, secrets)),
  )
  return {
    keys: found
      .flatMap((key) => ('problem' in key ? [] : [key]))
      .toSorted((a, b) => a.signsFromAt - b.signsFromAt || (a.kid < b.kid ? -1 : 1)),
    skipped: found.flatMap((key) => ('problem' in key ? [key] : [])),
  }
}

async function openKey(row: SigningKeyRow, secrets: Secrets): Promise<OpenedKey | SkippedKey> {
  const { kid, signsFromAt } = row
  const opened = openSeal(secrets, row)
  if (opened === null) return { kid, problem: cannotDecrypt }
  const { privateJwk, secret, coversTimes } = opened
  const privateKey = createPrivateKey({
    key: JSON.parse(privateJwk) as JsonWebKey,
    format: 'jwk',
  })
  const publicJwk = await publicJwkOf(privateKey)
  if (publicJwk.kid !== kid)
    return { kid, problem: 'its kid is not the thumbprint of its key (RFC 7638)' }
  const publicKey = (await importJWK(publicJwk, 'ES256')) as CryptoKey
  const header = JSON.stringify({ alg: 'ES256', typ: 'at+jwt', kid })
  const jwsHeader = Buffer.from(header).toString('base64url')
  const toReseal = secret === secrets[0] ? null : { row, privateJwk }
  return {
    kid,
    jwsHeader,
    privateKey,
    publicJwk,
    publicKey,
    signsFromAt,
    coversTimes,
    toReseal,
  }
}

/** As it is published, with the thumbprint as its `kid`. */
export async function publicJwkOf(privateKey: KeyObject): Promise<JWK> {
  const { kty, crv, x, y } = createPublicKey(privateKey).export({ format: 'jwk' }) as JWK
  const kid = await calculateJwkThumbprint({ kty, crv, x, y } as JWK)
  return { kty, crv, x, y, kid, alg: 'ES256', use: 'sig' } as JWK
}

/**
 * When every token that the key signed has expired, because another key has been signing for long enough;
 * Infinity without such a key. The times of a key whose seal does not cover them decide about its like alone, and the
 * first key of the other kind replaces it, whatever its row says.
 */
export function retiresAt(key: OpenedKey, keys: readonly OpenedKey[]): number {
  const place = keys.indexOf(key)
  const replacing = keys.filter((other, i) =>
    other.coversTimes ? i > place || !key.coversTimes : i > place && !key.coversTimes,
  )
  return Math.min(...replacing.map(({ signsFromAt }) => signsFromAt + accessTokenRetentionMs))
}
