import { createHmac, hkdfSync } from 'node:crypto'

/** The same text for all attempts at one account, from which its address cannot be found without the key. */
export type AccountHash = (email: string) => string

/** @param secret `AUTH_SECRET`: a new one gives all accounts new hashes */
export function createAccountHash(secret: string): AccountHash {
  const key = Buffer.from(hkdfSync('sha256', secret, '', 'token-ledger account hash', 32))
  return (email) => createHmac('sha256', key).update(email).digest('base64url').slice(0, 22)
}
