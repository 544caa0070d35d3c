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
  type SigningKeyRow,
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

/** What a process knows of keys. */
export type HeldKeys = {
  readonly keys: readonly OpenedKey[]
  /** Keys that it has used and that were deleted since. */
  readonly removedKids: ReadonlySet<string>
  /** Then its secret is the right one, and it may make a key where none is left. */
  readonly hasUsedKeys: boolean
}

/** Whether a key is to be added or deleted at `now`. */
export function isUpkeepDue(keys: readonly OpenedKey[], now: number): boolean {
  return isKeyMissing(keys, now) || retiredKids(keys, now).length > 0
}

/**
 * Adds the first key, or the next one if the newest is 30 days old, and deletes keys that are retired.
 *
 * @throws {Error} if there are keys and none can be used, by a process that has never used one
 */
export async function keepKeys(
  { transactions }: Database,
  secrets: Secrets,
  held: HeldKeys,
): Promise<void> {
  await inTransaction(transactions, async (tx) => {
    const { rows, now, ...fencedTx } = await lockSigningKeys(tx)
    const usable = rows.filter(({ kid }) => !held.removedKids.has(kid))
    const { keys, skipped } = await openKeys(usable, secrets, held.keys)
    if (!held.hasUsedKeys) assertSomeOpen(keys, skipped)
    if (isKeyMissing(keys, now)) await addKey(fencedTx, secrets, nextKeyTimes(keys, now))
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
    return addKey(fencedTx, secrets, nextKeyTimes(keys, now))
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
  const kid = await addKey(fencedTx, secrets, { createdAt: now, signsFromAt: now })
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

/** The first key signs at once, a further one when verifiers know it. */
function nextKeyTimes(keys: readonly OpenedKey[], now: number) {
  return { createdAt: now, signsFromAt: now + (keys.length === 0 ? 0 : publishAheadMs) }
}

async function addKey(
  fencedTx: FencedTransaction,
  [secret]: Secrets,
  times: Pick<SigningKeyRow, 'createdAt' | 'signsFromAt'>,
): Promise<string> {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const publicJwk = await publicJwkOf(privateKey)
  const covered = { kid: publicJwk.kid ?? '', ...times }
  const privateJwk = JSON.stringify(privateKey.export({ format: 'jwk' }))
  const sealedPrivateKey = sealKey(secret, privateJwk, covered)
  await insertSigningKey(fencedTx, { ...covered, sealedPrivateKey }, publicJwk)
  return covered.kid
}
