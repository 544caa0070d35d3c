import { generateKeyPairSync } from 'node:crypto'
import type { Database } from '../../db/connection/connect.ts'
import {
  inTransaction,
  type FencedTransaction,
  type Transaction,
} from '../../db/connection/transaction.ts'
import {
  deleteOtherSigningKeys,
  deleteSigningKeys,
  insertSigningKey,
  lockSigningKeys,
} from '../../db/signing-keys.ts'
import { sealKey, type Secrets } from './key-seal.ts'
import {
  cannotDecrypt,
  openKeys,
  publicJwkOf,
  retiresAt,
  type OpenedKey,
  type SkippedKey,
} from './open-keys.ts'

/** The `max-age` of the JWKS: verifiers cache it for this long at most. */
export const jwksMaxAgeSeconds = 300

/** A new key is published this long before it signs, so that every verifier has fetched it by then. */
const publishAheadMs = 2 * jwksMaxAgeSeconds * 1000

/** After this long, a process creates the next key automatically. */
const maxKeyAgeMs = 30 * 24 * 3600 * 1000

/** Whether a key is to be added or deleted at `now`. */
export function isUpkeepDue(keys: readonly OpenedKey[], now: number): boolean {
  return isKeyMissing(keys, now) || retiredKids(keys, now).length > 0
}

/**
 * Adds the first key, or the next one if the newest is 30 days old, and deletes keys that are retired.
 *
 * @param holding keys that this process has opened, and those that it knows to be removed
 */
export async function keepKeys(
  { transactions }: Database,
  secrets: Secrets,
  holding: { known: readonly OpenedKey[]; removedKids: ReadonlySet<string> },
): Promise<void> {
  await inTransaction(transactions, async (tx) => {
    const { rows, now, ...fencedTx } = await lockSigningKeys(tx)
    const { known, removedKids } = holding
    const usable = rows.filter(({ kid }) => !removedKids.has(kid))
    const { keys, skipped } = await openKeys(usable, secrets, known)
    if (known.length === 0) assertSomeOpen(keys, skipped)
    if (isKeyMissing(keys, now))
      await addKey(fencedTx, secrets, now + (keys.length === 0 ? 0 : publishAheadMs), now)
    await deleteSigningKeys(fencedTx, retiredKids(keys, now))
  })
}

/**
 * Adds the next key and deletes keys that are retired.
 *
 * @returns its kid
 * @throws {Error} if there are keys and none of the secrets decrypts one
 */
export async function rotateSigningKey(
  { transactions }: Database,
  secrets: Secrets,
): Promise<string> {
  return inTransaction(transactions, async (tx) => {
    const { rows, now, ...fencedTx } = await lockSigningKeys(tx)
    const { keys, skipped } = await openKeys(rows, secrets)
    assertSomeOpen(keys, skipped)
    await deleteSigningKeys(fencedTx, retiredKids(keys, now))
    return addKey(fencedTx, secrets, now + (keys.length === 0 ? 0 : publishAheadMs), now)
  })
}

/**
 * For a leaked private key: a new key signs from now on, and tokens of all other keys become invalid.
 * Clients refresh. Other services follow within the lifetime of their JWKS cache.
 *
 * @returns the new key's kid
 * @throws {Error} if there are keys and none of the secrets decrypts one
 */
export async function replaceSigningKeys(
  { transactions }: Database,
  secrets: Secrets,
): Promise<string> {
  return inTransaction(transactions, (tx) => replaceSigningKeysIn(tx, secrets))
}

/** `replaceSigningKeys` as a part of a transaction. */
export async function replaceSigningKeysIn(tx: Transaction, secrets: Secrets): Promise<string> {
  const { rows, now, ...fencedTx } = await lockSigningKeys(tx)
  const { keys, skipped } = await openKeys(rows, secrets)
  assertSomeOpen(keys, skipped)
  const kid = await addKey(fencedTx, secrets, now, now)
  await deleteOtherSigningKeys(fencedTx, kid)
  return kid
}

/**
 * A key added under a secret that the service does not have would be one that the service skips.
 *
 * @throws {Error} if there are keys and none can be used
 */
export function assertSomeOpen(keys: readonly OpenedKey[], skipped: readonly SkippedKey[]): void {
  const [first] = skipped
  if (keys.length > 0 || first === undefined) return
  if (skipped.some(({ problem }) => problem === cannotDecrypt))
    throw new Error(
      'AUTH_SECRET cannot decrypt the signing keys in this database; set it, or AUTH_SECRET_PREVIOUS, to the secret they were encrypted with',
    )
  throw new Error(
    `no signing key in this database can be used: ${JSON.stringify(first.kid)}: ${first.problem}`,
  )
}

function isKeyMissing(keys: readonly OpenedKey[], now: number): boolean {
  return keys.every(({ signsFromAt }) => now - signsFromAt > maxKeyAgeMs)
}

function retiredKids(keys: readonly OpenedKey[], now: number): string[] {
  return keys.filter((key) => retiresAt(key, keys) <= now).map(({ kid }) => kid)
}

async function addKey(
  fencedTx: FencedTransaction,
  [secret]: Secrets,
  signsFromAt: number,
  createdAt: number,
): Promise<string> {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const publicJwk = await publicJwkOf(privateKey)
  const covered = { kid: publicJwk.kid ?? '', createdAt, signsFromAt }
  const privateJwk = JSON.stringify(privateKey.export({ format: 'jwk' }))
  const sealedPrivateKey = sealKey(secret, privateJwk, covered)
  await insertSigningKey(fencedTx, { ...covered, sealedPrivateKey }, publicJwk)
  return covered.kid
}
