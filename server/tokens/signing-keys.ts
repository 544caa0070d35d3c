import {
  createCipheriv,
  createDecipheriv,
  createPrivateKey,
  hkdfSync,
  randomBytes,
  type JsonWebKey,
  type KeyObject,
} from 'node:crypto'
import {
  calculateJwkThumbprint,
  errors,
  exportJWK,
  generateKeyPair,
  importJWK,
  type CryptoKey,
  type JWK,
  type JWTVerifyGetKey,
} from 'jose'
import type { Database } from '../../db/connection/connect.ts'
import {
  deleteSigningKeys,
  insertSigningKey,
  listSigningKeys,
  resealSigningKey,
  type SigningKeyRow,
} from '../../db/signing-keys.ts'
import { accessTokenRetentionMs } from '../verifier/access-token-life.ts'

/** Verifiers keep our JWKS for this long at most; it is its `max-age`. */
export const jwksMaxAgeSeconds = 300

/** A new key is published this long before it signs: every verifier has seen it by then. */
const publishAheadMs = 2 * jwksMaxAgeSeconds * 1000

/** How soon a process notices that a key was added, or taken away in an emergency. */
const reloadEveryMs = 5_000

/** A key signs for this long; then the next one is made by itself. */
const maxKeyAgeMs = 30 * 24 * 3600 * 1000

export type SigningKeys = {
  /** The key that signs now. */
  current(): SigningKey
  /** Public keys of every token that may still be about, and of the next. */
  jwks(): { keys: JWK[] }
  readonly keySource: JWTVerifyGetKey
  reload(): Promise<void>
  close(): void
}

export type SigningKey = {
  readonly kid: string
  /** The protected header of what it signs (RFC 9068 §2.1), encoded. */
  readonly jwsHeader: string
  readonly privateKey: KeyObject
}

type LoadedKey = SigningKey & {
  readonly publicJwk: JWK
  readonly publicKey: CryptoKey
  /** On the process's own monotonic clock (`performance.now`). */
  readonly signsAt: number
}

/**
 * Keys live in the database, shared by all processes; the first process makes the first key.
 *
 * @param secrets `AUTH_SECRET`, then `AUTH_SECRET_PREVIOUS`
 * @throws {Error} when no secret of ours opens a key
 */
export async function loadSigningKeys(
  database: Database,
  secrets: readonly [string, ...string[]],
): Promise<SigningKeys> {
  let keys: readonly LoadedKey[] = []

  async function reload(): Promise<void> {
    const rows = await listSigningKeys(database)
    if (rows.length === 0) {
      const first = await createKey(secrets[0], 0)
      await insertSigningKey(database, first, { unlessYoungerThanMs: Infinity })
      return reload()
    }
    if (rows.every(({ signsInMs }) => signsInMs < -maxKeyAgeMs)) {
      const next = await createKey(secrets[0], publishAheadMs)
      await insertSigningKey(database, next, { unlessYoungerThanMs: maxKeyAgeMs })
      return reload()
    }
    const known = new Map(keys.map((key) => [key.kid, key]))
    keys = await Promise.all(
      rows.map(async (row) => {
        const key = known.get(row.kid) ?? (await openKey(database, row, secrets))
        // Looked at afresh: the process's clock stands still while the machine sleeps.
        return { ...key, signsAt: performance.now() + row.signsInMs }
      }),
    )
  }

  await reload()
  const timer = setInterval(() => {
    // What is loaded still works; the next round tries again.
    reload().catch(() => {})
  }, reloadEveryMs)
  timer.unref()

  return {
    current() {
      const now = performance.now()
      const current = keys.findLast((key) => key.signsAt <= now) ?? keys[0]
      if (current === undefined) throw new Error('no signing key is loaded')
      return current
    },
    jwks: () => ({ keys: published(keys).map(({ publicJwk }) => publicJwk) }),
    async keySource({ kid }) {
      const key = published(keys).find((candidate) => candidate.kid === kid)
      if (key === undefined) throw new errors.JWKSNoMatchingKey()
      return key.publicKey
    },
    reload,
    close: () => clearInterval(timer),
  }
}

const wrongSecret =
  'AUTH_SECRET does not open the signing keys of this database; set it, or AUTH_SECRET_PREVIOUS, to the one they were made with'

/**
 * Adds the next key, and takes out those that are long retired.
 *
 * @throws {Error} when none of the secrets is what the service's keys are sealed with
 */
export async function rotateSigningKey(
  database: Database,
  secrets: readonly [string, ...string[]],
): Promise<string> {
  const rows = await listSigningKeys(database)
  mustOpenNewest(rows, secrets)
  const isFirst = rows.length === 0
  const key = await createKey(secrets[0], isFirst ? 0 : publishAheadMs)
  await insertSigningKey(database, key, { unlessYoungerThanMs: -Infinity })
  const retired = rows.filter((_, i) => (rows[i + 1]?.signsInMs ?? 0) < -accessTokenRetentionMs)
  if (retired.length > 0)
    await deleteSigningKeys(
      database,
      retired.map(({ kid }) => kid),
    )
  return key.kid
}

/**
 * For the day a private key is known to somebody: a new key signs from now on, and no token of any
 * other is good any more. Clients refresh; other services follow within the life of their JWKS cache.
 *
 * @throws {Error} when none of the secrets is what the service's keys are sealed with
 */
export async function replaceSigningKeys(
  database: Database,
  secrets: readonly [string, ...string[]],
): Promise<string> {
  mustOpenNewest(await listSigningKeys(database), secrets)
  const key = await createKey(secrets[0], 0)
  const options = { unlessYoungerThanMs: -Infinity, removeOthers: true }
  await insertSigningKey(database, key, options)
  return key.kid
}

/** A key sealed with a secret that the service does not have would keep it from starting. */
function mustOpenNewest(rows: readonly SigningKeyRow[], secrets: readonly string[]): void {
  const newest = rows.at(-1)
  if (newest === undefined) return
  const { kid, sealedPrivateKey } = newest
  if (secrets.every((secret) => unseal(secret, kid, sealedPrivateKey) === null))
    throw new Error(wrongSecret)
}

/** Not those whose successor has signed for longer than a token lives. */
function published(keys: readonly LoadedKey[]): readonly LoadedKey[] {
  const now = performance.now()
  return keys.filter((_, i) => (keys[i + 1]?.signsAt ?? Infinity) + accessTokenRetentionMs > now)
}

async function createKey(secret: string, signsInMs: number): Promise<SigningKeyRow> {
  const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true })
  const { kty, crv, x, y } = await exportJWK(publicKey)
  const kid = await calculateJwkThumbprint({ kty, crv, x, y } as JWK)
  const publicJwk = { kty, crv, x, y, kid, alg: 'ES256', use: 'sig' } as Record<string, string>
  const sealedPrivateKey = seal(secret, kid, JSON.stringify(await exportJWK(privateKey)))
  return { kid, publicJwk, sealedPrivateKey, signsInMs }
}

async function openKey(
  database: Database,
  row: SigningKeyRow,
  secrets: readonly [string, ...string[]],
): Promise<Omit<LoadedKey, 'signsAt'>> {
  const { kid, publicJwk } = row
  const opened = secrets
    .map((secret) => ({ secret, privateJwk: unseal(secret, kid, row.sealedPrivateKey) }))
    .find(({ privateJwk }) => privateJwk !== null)
  if (opened?.privateJwk == null) throw new Error(wrongSecret)
  if (opened.secret !== secrets[0])
    await resealSigningKey(database, kid, seal(secrets[0], kid, opened.privateJwk))
  const privateKey = createPrivateKey({
    key: JSON.parse(opened.privateJwk) as JsonWebKey,
    format: 'jwk',
  })
  const publicKey = await importJWK(publicJwk, 'ES256')
  if (publicKey instanceof Uint8Array) throw new Error(`signing key ${kid} is not a key pair`)
  const header = JSON.stringify({ alg: 'ES256', typ: 'at+jwt', kid })
  const jwsHeader = Buffer.from(header).toString('base64url')
  return { kid, publicJwk, publicKey, jwsHeader, privateKey }
}

/** AES-256-GCM, bound to the key's id: iv (12 bytes) ‖ tag (16) ‖ ciphertext. */
function seal(secret: string, kid: string, text: string): Buffer {
  const iv = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', sealingKey(secret), iv).setAAD(Buffer.from(kid))
  const ciphertext = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()])
  return Buffer.concat([iv, cipher.getAuthTag(), ciphertext])
}

function unseal(secret: string, kid: string, sealed: Buffer): string | null {
  const decipher = createDecipheriv('aes-256-gcm', sealingKey(secret), sealed.subarray(0, 12), {
    authTagLength: 16,
  })
  decipher.setAAD(Buffer.from(kid)).setAuthTag(sealed.subarray(12, 28))
  try {
    return decipher.update(sealed.subarray(28), undefined, 'utf8') + decipher.final('utf8')
  } catch {
    return null
  }
}

function sealingKey(secret: string): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, '', 'token-ledger signing key seal', 32))
}
