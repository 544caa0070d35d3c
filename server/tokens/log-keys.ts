import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type JsonWebKey,
  type KeyObject,
} from 'node:crypto'
import { calculateJwkThumbprint, type JWK } from 'jose'
import type { Database } from '../../db/connection/connect.ts'
import { insertLogKey, readLogKeys, resealLogKey } from '../../db/log-keys.ts'
import { openSeal, sealKey, type Secrets } from './key-seal.ts'

/** Each key signs each checkpoint, and verifiers of others read a hundred signatures at most. */
const maxLogKeys = 16

export type LogKeys = {
  /** The oldest first. Empty when the secrets decrypt none. */
  readonly privateKeys: readonly KeyObject[]
  /** Keys that the secrets do not decrypt, or whose row was changed. */
  readonly lockedKids: readonly string[]
}

/**
 * The Ed25519 keys that sign checkpoints of the log. The first process makes one. It is never replaced, because outsiders
 * know the log by it; an operator may add others.
 */
export async function loadLogKeys(database: Database, secrets: Secrets): Promise<LogKeys> {
  if ((await readLogKeys(database)).length === 0) await storeNewKey(database, secrets, 1)
  const privateKeys: KeyObject[] = []
  const lockedKids: string[] = []
  for (const stored of await readLogKeys(database)) {
    const privateKey = await openLogKey(database, secrets, stored)
    if (privateKey === null) lockedKids.push(stored.kid)
    else privateKeys.push(privateKey)
  }
  return { privateKeys, lockedKids }
}

/** @throws {Error} when the log has as many keys as it can */
export async function addLogKey(database: Database, secrets: Secrets): Promise<void> {
  if (!(await storeNewKey(database, secrets, maxLogKeys)))
    throw new Error(`the log has ${maxLogKeys} keys already`)
}

/** @returns null when the secrets do not decrypt the key, or its row was changed */
async function openLogKey(
  database: Database,
  secrets: Secrets,
  stored: Awaited<ReturnType<typeof readLogKeys>>[number],
): Promise<KeyObject | null> {
  const covered = { ...stored, signsFromAt: stored.createdAt }
  const opened = openSeal(secrets, covered)
  if (opened === null || !opened.coversTimes) return null
  const privateKey = createPrivateKey({
    key: JSON.parse(opened.privateJwk) as JsonWebKey,
    format: 'jwk',
  })
  if ((await kidOf(privateKey)) !== stored.kid) return null
  if (opened.secret !== secrets[0]) {
    const sealedPrivateKey = sealKey(secrets[0], opened.privateJwk, covered)
    await resealLogKey(database, { ...stored, sealedPrivateKey })
  }
  return privateKey
}

async function storeNewKey(database: Database, [secret]: Secrets, limit: number): Promise<boolean> {
  const { privateKey } = generateKeyPairSync('ed25519')
  const kid = await kidOf(privateKey)
  const createdAt = Date.now()
  const sealedPrivateKey = sealKey(secret, JSON.stringify(privateKey.export({ format: 'jwk' })), {
    kid,
    createdAt,
    signsFromAt: createdAt,
  })
  return insertLogKey(database, { kid, sealedPrivateKey, createdAt }, limit)
}

/** The thumbprint of the public half (RFC 7638). */
function kidOf(privateKey: KeyObject): Promise<string> {
  const { kty, crv, x } = createPublicKey(privateKey).export({ format: 'jwk' })
  return calculateJwkThumbprint({ kty, crv, x } as JWK)
}
