import {
  createHmac,
  createSecretKey,
  hash,
  hkdfSync,
  randomBytes,
  timingSafeEqual,
  type KeyObject,
} from 'node:crypto'

/**
 * A refresh token: `tlr1.` and the base64url of family (16 bytes) ‖ generation (4) ‖ secret (32) ‖
 * MAC (16). The MAC is checked first, so a forged token never causes a query.
 */
export type RefreshToken = {
  readonly familyId: string
  readonly generation: number
  readonly secret: Buffer
  /** The token as it is sent. */
  readonly value: string
}

/** Keys derived from `AUTH_SECRET` and, while it is being changed, from its predecessor. Newest first. */
export type RefreshTokenKeys = readonly [RefreshTokenKey, ...RefreshTokenKey[]]
/** Key objects, because creating a key from bytes for each use costs five times the HMAC itself on Node 24. */
type RefreshTokenKey = { readonly mac: KeyObject; readonly ratchet: KeyObject }

const prefix = 'tlr1.'
const secretAt = 20
const macAt = 52
const size = 68
/** 68 bytes in base64url without padding. The two unused bits of the last character must be 0: one token, one spelling. */
const tokenPattern = /^tlr1\.[A-Za-z0-9_-]{90}[AEIMQUYcgkosw048]$/

export function deriveRefreshTokenKeys(secrets: readonly [string, ...string[]]): RefreshTokenKeys {
  const [newest, ...older] = secrets
  return [keyOf(newest), ...older.map(keyOf)]
}

function keyOf(secret: string): RefreshTokenKey {
  const derive = (use: string) =>
    createSecretKey(Buffer.from(hkdfSync('sha256', secret, '', use, 32)))
  return {
    mac: derive('token-ledger refresh mac'),
    ratchet: derive('token-ledger refresh ratchet'),
  }
}

/** The first token of a family, with a secret of 256 random bits: `randomSecret`. */
export function createRefreshToken(
  keys: RefreshTokenKeys,
  familyId: string,
  secret = randomSecret(),
): RefreshToken {
  const value = seal(keys[0], headOf(familyId, 0), secret)
  return { familyId, generation: 0, secret, value }
}

/** Made before the family, where the ledger gets the hash before it has named the family. */
export function randomSecret(): Buffer {
  return randomBytes(32)
}

/** @returns null if the format, the spelling or the MAC is wrong */
export function parseRefreshToken(keys: RefreshTokenKeys, value: string): RefreshToken | null {
  if (!tokenPattern.test(value)) return null
  const bytes = Buffer.from(value.slice(prefix.length), 'base64url')
  const body = bytes.subarray(0, macAt)
  const isAuthentic = keys.some((key) => timingSafeEqual(macOf(key, body), bytes.subarray(macAt)))
  if (!isAuthentic) return null
  return {
    familyId: formatUuid(bytes.subarray(0, 16)),
    generation: bytes.readUInt32BE(16),
    secret: bytes.subarray(secretAt, macAt),
    value,
  }
}

/**
 * The only successor of a token with this salt. Deriving it needs the presented token, the server's
 * secret and the salt in the ledger; none of them is enough alone. A retry gets the same bytes.
 */
export function deriveSuccessor(
  key: RefreshTokenKey,
  token: RefreshToken,
  salt: Uint8Array,
): RefreshToken {
  const generation = token.generation + 1
  const head = headOf(token.familyId, generation)
  const secret = createHmac('sha256', key.ratchet)
    .update(token.secret)
    .update(salt)
    .update(head)
    .digest()
  return { familyId: token.familyId, generation, secret, value: seal(key, head, secret) }
}

type Rotation = { readonly salt: Uint8Array; readonly tokenHash: Uint8Array }

/** What these rotations, one after the other, made of the token; null if no key derives one of the successors. */
export function findDescendant(
  keys: RefreshTokenKeys,
  token: RefreshToken,
  rotations: readonly Rotation[],
): RefreshToken | null {
  return rotations.reduce<RefreshToken | null>(
    (found, rotated) => found && findSuccessor(keys, found, rotated),
    token,
  )
}

/** The successor whose hash is in the ledger, whichever of the keys derived it; null if none did. */
function findSuccessor(
  keys: RefreshTokenKeys,
  token: RefreshToken,
  rotated: Rotation,
): RefreshToken | null {
  const successors = keys.map((key) => deriveSuccessor(key, token, rotated.salt))
  return successors.find((successor) => hasHash(successor, rotated.tokenHash)) ?? null
}

/** The hash that the ledger stores. SHA-256 is enough for 256 random bits (ASVS 5.0, 6.5.2). */
export function hashSecret({ secret }: Pick<RefreshToken, 'secret'>): Buffer {
  return hash('sha256', secret, 'buffer')
}

/** Whether the ledger stored this hash for the token; null where it has no such generation. */
export function hasHash(token: RefreshToken, tokenHash: Uint8Array | null): boolean {
  return tokenHash !== null && hashSecret(token).equals(tokenHash)
}

/** The first bytes of a token: family ‖ generation. */
function headOf(familyId: string, generation: number): Buffer {
  const head = Buffer.alloc(secretAt)
  parseUuid(familyId).copy(head)
  head.writeUInt32BE(generation, 16)
  return head
}

function seal(key: RefreshTokenKey, head: Buffer, secret: Buffer): string {
  const body = Buffer.concat([head, secret])
  return prefix + Buffer.concat([body, macOf(key, body)]).toString('base64url')
}

function macOf(key: RefreshTokenKey, body: Buffer): Buffer {
  return createHmac('sha256', key.mac)
    .update(body)
    .digest()
    .subarray(0, size - macAt)
}

function parseUuid(uuid: string): Buffer {
  return Buffer.from(uuid.replaceAll('-', ''), 'hex')
}

function formatUuid(bytes: Buffer): string {
  const hex = bytes.toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}
