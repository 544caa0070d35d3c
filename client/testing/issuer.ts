import { exportJWK, generateKeyPair, SignJWT, type JWK } from 'jose'

export type TestUser = {
  readonly id: string
  readonly email: string
  readonly role?: 'user' | 'admin'
  readonly emailVerified?: boolean
}

/** What a token says beside its user. */
export type ForUser = {
  /** The issuer's `audience` unless given. */
  readonly audience?: string
  /** The session; a new one unless given. */
  readonly familyId?: string
  /** 900 unless given. A negative number makes a token that has expired. */
  readonly expiresInSeconds?: number
  /** Epoch milliseconds: when the user last proved who they are; now unless given. */
  readonly authenticatedAt?: number
  /** How they did (`amr`); `['pwd']` unless given. */
  readonly methods?: readonly string[]
}

/** Signs access tokens as a token-ledger service does, with a key of its own that is in memory alone. */
export type TestIssuer = {
  readonly issuer: string
  readonly audience: string
  /** What the service publishes at `/.well-known/jwks.json`. */
  readonly jwks: { readonly keys: readonly JWK[] }
  signFor(user: TestUser, about?: ForUser): Promise<string>
}

export type StartedIssuer = TestIssuer & {
  close(): Promise<void>
}

const lifetimeSeconds = 900

/** @param options.issuer The service's `PUBLIC_URL`. */
export async function createTestIssuer(options: {
  readonly issuer: string
  readonly audience?: string
}): Promise<TestIssuer> {
  const { issuer, audience = issuer } = options
  const { privateKey, publicKey } = await generateKeyPair('ES256')
  const kid = crypto.randomUUID()
  const jwk = { ...(await exportJWK(publicKey)), kid, alg: 'ES256', use: 'sig' }

  return {
    issuer,
    audience,
    jwks: { keys: [jwk] },
    signFor(user, about = {}) {
      const { familyId = crypto.randomUUID(), expiresInSeconds = lifetimeSeconds } = about
      const now = Math.floor(Date.now() / 1000)
      const expiresAt = now + expiresInSeconds
      return new SignJWT({
        sid: familyId,
        client_id: 'first-party',
        auth_time: Math.floor((about.authenticatedAt ?? Date.now()) / 1000),
        amr: about.methods ?? ['pwd'],
        role: user.role ?? 'user',
        email: user.email,
        email_verified: user.emailVerified ?? false,
      })
        .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid })
        .setIssuer(issuer)
        .setAudience(about.audience ?? audience)
        .setSubject(user.id)
        .setJti(crypto.randomUUID())
        .setIssuedAt(Math.min(now, expiresAt - 1))
        .setExpirationTime(expiresAt)
        .sign(privateKey)
    },
  }
}

/**
 * An issuer whose keys are served on a free port of the loopback interface, for the verifier of a service under test.
 *
 * @example
 * const issuer = await startTestIssuer({ audience: 'https://orders.example.com' })
 * const verifier = createVerifier(issuer)
 * const token = await issuer.signFor({ id: crypto.randomUUID(), email: 'ada@example.com' })
 */
export async function startTestIssuer(
  options: { readonly audience?: string } = {},
): Promise<StartedIssuer> {
  // Imported here, so that a browser can load this file.
  const { createServer } = await import('node:http')
  const server = createServer((request, response) => {
    const isFound = request.url === '/.well-known/jwks.json'
    response.writeHead(isFound ? 200 : 404, { 'Content-Type': 'application/json' })
    response.end(JSON.stringify(isFound ? made.jwks : {}))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  server.unref()
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the server has no port')
  const made = await createTestIssuer({ ...options, issuer: `http://127.0.0.1:${address.port}` })
  return {
    ...made,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
