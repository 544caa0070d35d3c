import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type JsonWebKey,
  type KeyObject,
} from 'node:crypto'
import { calculateJwkThumbprint, type JWK } from 'jose'
import type { Database } from '../../db/connection/connect.ts'
import { insertFirstLogKey, readLogKey, resealLogKey } from '../../db/log-key.ts'
import { openSeal, sealKey, type Secrets } from './key-seal.ts'

/**
 * The Ed25519 key that signs checkpoints of the log. The first process makes it; it is never replaced, because
 * outsiders know the log by it.
 *
 * @returns null when the secrets do not decrypt it, or its row was changed
 */
export async function loadLogKey(database: Database, secrets: Secrets): Promise<KeyObject | null> {
  const stored = (await readLogKey(database)) ?? (await makeLogKey(database, secrets))
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

async function makeLogKey(database: Database, [secret]: Secrets) {
  const { privateKey } = generateKeyPairSync('ed25519')
  const kid = await kidOf(privateKey)
  const createdAt = Date.now()
  const sealedPrivateKey = sealKey(secret, JSON.stringify(privateKey.export({ format: 'jwk' })), {
    kid,
    createdAt,
    signsFromAt: createdAt,
  })
  await insertFirstLogKey(database, { kid, sealedPrivateKey, createdAt })
  const stored = await readLogKey(database)
  if (stored === null) throw new Error('the key of the log was not stored')
  return stored
}

/** The thumbprint of the public half (RFC 7638). */
function kidOf(privateKey: KeyObject): Promise<string> {
  const { kty, crv, x } = createPublicKey(privateKey).export({ format: 'jwk' })
  return calculateJwkThumbprint({ kty, crv, x } as JWK)
}
