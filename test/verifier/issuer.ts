import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import type { CryptoKey, JWK } from 'jose'

export type Claims = Record<string, unknown>

export type Minting = {
  readonly claims?: Claims
  readonly header?: Record<string, unknown>
  readonly key?: CryptoKey | Uint8Array
}

/** A stand-in for the service: mints access tokens and publishes its keys on a free loopback port. */
export type Issuer = AsyncDisposable & {
  readonly issuer: string
  readonly audience: string
  readonly publicJwk: JWK
  /** The published keys; a test may change the list. */
  readonly published: JWK[]
  /** Requests for the key set so far. */
  fetches(): number
  /** How the key set is answered from now on. */
  answer(how: 'well' | '500' | 'not json' | 'never'): void
  /** A valid token with these changes; a claim or header set to undefined is left out. */
  mint(change?: Minting): Promise<string>
  /** Signs with a new key from now on. The key is not published by itself. */
  rotateKey(): Promise<JWK>
}

export const audience = 'https://api.example.com'

export async function startIssuer(): Promise<Issuer> {
  let { key, jwk } = await makeKey('key-1')
  const publicJwk = jwk
  const published = [jwk]
  let fetches = 0
  let how: Parameters<Issuer['answer']>[0] = 'well'

  const server = createServer((request, response) => {
    fetches += 1
    if (how === 'never') return
    const found = request.url === '/.well-known/jwks.json' ? 200 : 404
    response.writeHead(how === '500' ? 500 : found, { 'Content-Type': 'application/json' })
    response.end(how === 'well' ? JSON.stringify({ keys: published }) : '<html>')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

  return {
    issuer,
    audience,
    publicJwk,
    published,
    fetches: () => fetches,
    answer: (next) => (how = next),
    mint: ({ claims, header, key: other } = {}) =>
      new SignJWT({ ...goodClaims(issuer), ...claims })
        .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid: jwk.kid!, ...header })
        .sign(other ?? key),
    async rotateKey() {
      ;({ key, jwk } = await makeKey(`key-${Math.random()}`))
      return jwk
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

export const nowSeconds = () => Math.floor(Date.now() / 1000)

export function goodClaims(issuer: string): Claims {
  const now = nowSeconds()
  return {
    iss: issuer,
    aud: audience,
    sub: '0198c0de-0000-7000-8000-000000000001',
    sid: '0198c0de-0000-7000-8000-000000000002',
    client_id: 'first-party',
    jti: crypto.randomUUID(),
    iat: now,
    exp: now + 15 * 60,
    auth_time: now - 60,
    amr: ['pwd', 'otp'],
    role: 'user',
    email: 'user@example.com',
    email_verified: false,
  }
}

async function makeKey(kid: string): Promise<{ key: CryptoKey; jwk: JWK }> {
  const { privateKey, publicKey } = await generateKeyPair('ES256')
  return {
    key: privateKey,
    jwk: { ...(await exportJWK(publicKey)), kid, alg: 'ES256', use: 'sig' },
  }
}
