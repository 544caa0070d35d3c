import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'
import type { SigningKeyRow } from '../../db/signing-keys.ts'

/** What else the seal of a key covers: the row cannot be given another id or other times. */
type Covered = Pick<SigningKeyRow, 'kid' | 'createdAt' | 'signsFromAt'>

/** `AUTH_SECRET`, then `AUTH_SECRET_PREVIOUS`. */
export type Secrets = readonly [string, ...string[]]

/** AES-256-GCM with what is covered as additional data: iv (12 bytes) ‖ tag (16) ‖ ciphertext. */
export function sealKey(secret: string, privateJwk: string, covered: Covered): Buffer {
  const iv = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', sealingKey(secret), iv)
  cipher.setAAD(Buffer.from(withTimes(covered)))
  const ciphertext = Buffer.concat([cipher.update(privateJwk, 'utf8'), cipher.final()])
  return Buffer.concat([iv, cipher.getAuthTag(), ciphertext])
}

export type OpenedSeal = {
  readonly privateJwk: string
  readonly secret: string
  /** False for keys of versions before 0016, whose seal covers the kid alone. */
  readonly coversTimes: boolean
}

/** @returns null when none of the secrets opens it */
export function openSeal(secrets: Secrets, row: SigningKeyRow): OpenedSeal | null {
  for (const secret of secrets)
    for (const coversTimes of [true, false]) {
      const privateJwk = unseal(secret, coversTimes ? withTimes(row) : row.kid, row)
      if (privateJwk !== null) return { privateJwk, secret, coversTimes }
    }
  return null
}

function withTimes({ kid, createdAt, signsFromAt }: Covered): string {
  return JSON.stringify([2, kid, createdAt, signsFromAt])
}

function unseal(secret: string, covered: string, { sealedPrivateKey }: SigningKeyRow) {
  try {
    const iv = sealedPrivateKey.subarray(0, 12)
    const decipher = createDecipheriv('aes-256-gcm', sealingKey(secret), iv, { authTagLength: 16 })
    decipher.setAAD(Buffer.from(covered)).setAuthTag(sealedPrivateKey.subarray(12, 28))
    return (
      decipher.update(sealedPrivateKey.subarray(28), undefined, 'utf8') + decipher.final('utf8')
    )
  } catch {
    return null
  }
}

function sealingKey(secret: string): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, '', 'token-ledger signing key seal', 32))
}
