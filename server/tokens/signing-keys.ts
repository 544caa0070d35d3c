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

/** The `max-age` of the JWKS: verifiers cache it for this long at most. */
export const jwksMaxAgeSeconds = 300

/** A new key is published this long before it signs, so that every verifier has fetched it by then. */
const publishAheadMs = 2 * jwksMaxAgeSeconds * 1000

/** How soon a process notices that a key was added, or removed in an emergency. */
const defaultReloadEveryMs = 5_000

/** After this long, a process creates the next key automatically. */
const maxKeyAgeMs = 30 * 24 * 3600 * 1000

export type SigningKeys = {
  /** The key that signs now. */
  current(): SigningKey
  /** The public keys of all tokens that may still be valid, and the next key. */
  jwks(): { keys: JWK[] }
  readonly keySource: JWTVerifyGetKey
  reload(): Promise<void>
  close(): void
}

export type SigningKey = {
  readonly kid: string
  /** The protected header of its tokens (RFC 9068 §2.1), encoded. */
  readonly jwsHeader: string
  readonly privateKey: KeyObject
}

type LoadedKey = SigningKey & {
  readonly publicJwk: JWK
  readonly publicKey: CryptoKey
  /** By the monotonic clock of this process (`performance.now`). */
  readonly signsAt: number
}

/**
 * Loads the signing keys from the database, which all processes share. The first process creates the first
 * key.
 *
 * @param secrets `AUTH_SECRET`, then `AUTH_SECRET_PREVIOUS`
 * @throws {Error} if none of the secrets decrypts a key
 */
export async function loadSigningKeys(
  database: Database,
  secrets: readonly [string, ...string[]],
  { reloadEveryMs = defaultReloadEveryMs }: { reloadEveryMs?: number } = {},
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
        // Computed again at each reload, because the monotonic clock may stop while the machine sleeps.
        return { ...key, signsAt: performance.now() + row.signsInMs }
      }),
    )
  }

  await reload()
  const timer = setInterval(() => {
    // The keys in memory still work, and the next round tries again.
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
  'AUTH_SECRET cannot decrypt the signing keys in this database; set it, or AUTH_SECRET_PREVIOUS, to the secret they were encrypted with'

/**
 * Adds the next key and removes keys whose tokens have all expired.
 *
 * @throws {Error} if none of the secrets decrypts the newest key
 */
export async function rotateSigningKey(
  database: Database,
  secrets: readonly [string, ...string[]],
): Promise<string> {
  const rows = await listSigningKeys(database)
  assertOpensNewest(rows, secrets)
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
 * For a leaked private key: a new key signs from now on, and tokens of all other keys become invalid.
 * Clients refresh. Other services follow within the lifetime of their JWKS cache.
 *
 * @throws {Error} if none of the secrets decrypts the newest key
 */
export async function replaceSigningKeys(
  database: Database,
  secrets: readonly [string, ...string[]],
): Promise<string> {
  assertOpensNewest(await listSigningKeys(database), secrets)
  const key = await createKey(secrets[0], 0)
  const options = { unlessYoungerThanMs: -Infinity, removeOthers: true }
  await insertSigningKey(database, key, options)
  return key.kid
}

/** Prevents adding a key under a secret that the service does not have: the service could not start any more. */
function assertOpensNewest(rows: readonly SigningKeyRow[], secrets: readonly string[]): void {
  const newest = rows.at(-1)
  if (newest === undefined) return
  const { kid, sealedPrivateKey } = newest
  if (secrets.every((secret) => unseal(secret, kid, sealedPrivateKey) === null))
    throw new Error(wrongSecret)
}

/** All keys but those whose tokens have expired: their successor has been signing for long enough. */
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

/** AES-256-GCM with the key id as additional data: iv (12 bytes) ‖ tag (16) ‖ ciphertext. */
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
