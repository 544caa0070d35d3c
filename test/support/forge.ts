import { createPublicKey, sign, type KeyObject } from 'node:crypto'
import { decodeJwt, type JWTPayload } from 'jose'
import { connect } from '../../db/connection/connect.ts'
import { loadSigningKeys } from '../../server/tokens/signing-keys.ts'
import { testSecret } from './server.ts'

/** Mints tokens with the service's own signing key, which no attacker has, so that each is wrong in one thing alone. */
export type Forge = {
  readonly kid: string
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
  /** The claims of `accessToken` under the service's own header and key, with this change. */
  mint(accessToken: string, change?: Change): string
}

export type Change = {
  /** A claim set to undefined is left out. */
  readonly claims?: Record<string, unknown>
  readonly header?: Record<string, unknown>
  /** A payload to send unchanged, instead of claims. */
  readonly payload?: string
  /** Another signature over the same bytes. */
  readonly signature?: (input: string) => Buffer
}

/** Opens the signing key as the service does. */
export async function openForge(databaseUrl: string): Promise<Forge> {
  const database = connect(databaseUrl, { role: 'token_ledger_app', maxConnections: 1 })
  const keys = await loadSigningKeys(database, [testSecret])
  const { kid, privateKey } = keys.current()
  keys.close()
  await database.close()
  return {
    kid,
    privateKey,
    publicKey: createPublicKey(privateKey),
    mint(accessToken, { claims, header, payload, signature = es256(privateKey) } = {}) {
      const protectedHeader = { alg: 'ES256', typ: 'at+jwt', kid, ...header }
      const body = payload ?? JSON.stringify({ ...claimsOf(accessToken), ...claims })
      const input = `${segment(JSON.stringify(protectedHeader))}.${segment(body)}`
      return `${input}.${signature(input).toString('base64url')}`
    },
  }
}

export function claimsOf(accessToken: string): JWTPayload {
  return decodeJwt(accessToken)
}

/** JWS signatures of ES256: r ‖ s (RFC 7518 §3.4). */
export function es256(key: KeyObject): (input: string) => Buffer {
  return (input) => sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' })
}

export function segment(text: string): string {
  return Buffer.from(text).toString('base64url')
}
