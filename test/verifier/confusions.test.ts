import { createServer } from 'node:http'
import { connect } from 'node:net'
import type { AddressInfo } from 'node:net'
import { exportSPKI, generateKeyPair, importJWK, exportJWK, UnsecuredJWT } from 'jose'
import type { CryptoKey } from 'jose'
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { AccessTokenError, verifyAccessToken } from '../../server/verifier/index.ts'
import { goodClaims, nowSeconds, startIssuer } from './issuer.ts'
import type { Claims, Issuer } from './issuer.ts'
import { adapters, startServices } from './services-process.ts'
import type { Services } from './services-process.ts'

let issuer: Issuer
let services: Services
let foreignKey: CryptoKey

beforeAll(async () => {
  issuer = await startIssuer()
  services = await startServices(issuer)
  foreignKey = (await generateKeyPair('ES256')).privateKey
})

afterAll(async () => {
  await services?.[Symbol.asyncDispose]()
  await issuer?.[Symbol.asyncDispose]()
})

describe('a valid access token', () => {
  test.each(adapters)(
    'a service without a database reads the caller from a valid token: %s',
    async (adapter) => {
      const claims: Claims = { ...goodClaims(issuer.issuer), role: 'admin' }
      const answer = await services.me(adapter, `Bearer ${await issuer.mint({ claims })}`)
      expect(answer).toMatchObject({ status: 200, reason: undefined })
      expect(answer.data).toEqual({
        userId: claims['sub'],
        familyId: claims['sid'],
        role: 'admin',
        email: claims['email'],
        emailVerified: false,
        clientId: 'first-party',
        tokenId: claims['jti'],
        issuedAt: Number(claims['iat']) * 1000,
        expiresAt: Number(claims['exp']) * 1000,
        authenticatedAt: Number(claims['auth_time']) * 1000,
        methods: ['pwd', 'otp'],
      })
    },
  )

  test('the scheme may be written bearer (RFC 9110 §11.1), and typ may be the full media type', async () => {
    const full = await issuer.mint({ header: { typ: 'application/at+jwt' } })
    for (const adapter of adapters) {
      expect(await services.me(adapter, `bearer ${await issuer.mint()}`)).toMatchObject({
        status: 200,
      })
      expect(await services.me(adapter, `Bearer ${full}`)).toMatchObject({ status: 200 })
    }
  })

  test.each([
    ['true', true, true],
    ['false', false, false],
    ['missing, as services before this claim issue it', undefined, false],
  ])('AT-18: email_verified %s: emailVerified says so', async (_name, claim, emailVerified) => {
    const token = await issuer.mint({ claims: { email_verified: claim } })
    for (const adapter of adapters)
      expect((await services.me(adapter, `Bearer ${token}`)).data).toMatchObject({ emailVerified })
  })

  test('a claim that this verifier does not know is ignored, so that a newer service may add one', async () => {
    const token = await issuer.mint({ claims: { from_the_future: true } })
    expect(await everywhere(token)).toEqual(all('accepted'))
  })

  test('the clocks may differ by 29 seconds', async () => {
    const now = nowSeconds()
    expect(
      await everywhere(await issuer.mint({ claims: { iat: now + 28, exp: now + 900 } })),
    ).toEqual(all('accepted'))
    expect(
      await everywhere(await issuer.mint({ claims: { iat: now - 880, exp: now - 20 } })),
    ).toEqual(all('accepted'))
  })

  test('AT-07 (JWT denylist by id): a token with s replaced by n−s is the same to ECDSA, so a session is ended by sid', async () => {
    expect(await everywhere(withOtherS(await issuer.mint()))).toEqual(all('accepted'))
  })
})

describe('AT-01, AT-02, AT-03, AT-04, AT-05, AT-06, AT-14, V12 (RFC 8725 §3, RFC 9068 §4): a malformed or foreign token is refused by every adapter', () => {
  const cases: [name: string, make: () => Promise<string> | string][] = [
    ...['none', 'None', 'NONE', 'nOnE', ''].map((alg): [string, () => string] => [
      `alg ${JSON.stringify(alg)} without a signature (RFC 8725 §3.2)`,
      () => unsigned({ alg, typ: 'at+jwt', kid: 'key-1' }),
    ]),
    ['alg none as jose writes it', () => new UnsecuredJWT(goodClaims(issuer.issuer)).encode()],
    ['alg none with the signature of a good one', () => withHeader({ alg: 'none' })],
    ['HS256 with the public key as PEM', async () => hs256(await publicPem())],
    ['HS256 with the PEM after a space', async () => hs256(` ${await publicPem()}`)],
    ['HS256 with the public JWK', () => hs256(JSON.stringify(issuer.publicJwk))],
    ['HS256 with the raw public key', () => hs256(Buffer.from(issuer.publicJwk.x!, 'base64url'))],
    ['ES256 with another key', () => issuer.mint({ key: foreignKey })],
    ['RS256 with another key', () => withOtherAlgorithm('RS256')],
    ['ES384 with another key', () => withOtherAlgorithm('ES384')],
    ['EdDSA with another key', () => withOtherAlgorithm('EdDSA')],
    ['typ JWT (RFC 9068 §4)', () => issuer.mint({ header: { typ: 'JWT' } })],
    ['no typ', () => issuer.mint({ header: { typ: undefined } })],
    [
      'an embedded jwk',
      async () => {
        const jwk = await exportJWK(
          (await generateKeyPair('ES256', { extractable: true })).publicKey,
        )
        return issuer.mint({ key: foreignKey, header: { jwk } })
      },
    ],
    ['no kid, though one key is published', () => issuer.mint({ header: { kid: undefined } })],
    ...[
      '',
      'key-2',
      '../../key-1',
      '/dev/null',
      "key-1' or '1'='1",
      '__proto__',
      'constructor',
      'k'.repeat(1500),
    ].map((kid): [string, () => Promise<string>] => [
      `kid ${JSON.stringify(kid.slice(0, 20))}`,
      () => issuer.mint({ header: { kid } }),
    ]),
    ...[1, null, true, ['key-1'], { kid: 'key-1' }].map((kid): [string, () => Promise<string>] => [
      `kid of another type: ${JSON.stringify(kid)}`,
      () => withHeader({ alg: 'ES256', typ: 'at+jwt', kid }),
    ]),
    ['crit', () => withHeader({ alg: 'ES256', typ: 'at+jwt', kid: 'key-1', crit: ['x'], x: 1 })],
    [
      'b64 false',
      () => withHeader({ alg: 'ES256', typ: 'at+jwt', kid: 'key-1', b64: false, crit: ['b64'] }),
    ],
    [
      'a JWE with a million rounds',
      () => {
        const header = { alg: 'PBES2-HS256+A128KW', enc: 'A128GCM', p2c: 1e9, p2s: 'AAAA' }
        return `${segment(header)}.AAAA.AAAA.AAAA.AAAA`
      },
    ],
    ...[
      'iss',
      'aud',
      'sub',
      'sid',
      'client_id',
      'jti',
      'iat',
      'exp',
      'auth_time',
      'role',
      'email',
    ].flatMap((claim): [string, () => Promise<string>][] => [
      [`no ${claim} (RFC 9068 §4)`, () => issuer.mint({ claims: { [claim]: undefined } })],
      [`${claim} null`, () => issuer.mint({ claims: { [claim]: null } })],
      [`${claim} of another type`, () => issuer.mint({ claims: { [claim]: { a: 1 } } })],
      [`${claim} empty`, () => issuer.mint({ claims: { [claim]: '' } })],
    ]),
    ...[null, 'true', 1, {}].map((value): [string, () => Promise<string>] => [
      `email_verified ${JSON.stringify(value)}`,
      () => issuer.mint({ claims: { email_verified: value } }),
    ]),
    ...[null, 'pwd', [1], [''], { 0: 'pwd' }].map((value): [string, () => Promise<string>] => [
      `amr ${JSON.stringify(value)}`,
      () => issuer.mint({ claims: { amr: value } }),
    ]),
    ['a role nobody has', () => issuer.mint({ claims: { role: 'root' } })],
    ['iss with a slash', () => issuer.mint({ claims: { iss: `${issuer.issuer}/` } })],
    ['iss in capitals', () => issuer.mint({ claims: { iss: issuer.issuer.toUpperCase() } })],
    ['iss of somebody else', () => issuer.mint({ claims: { iss: 'https://evil.example' } })],
    ['aud of another service', () => issuer.mint({ claims: { aud: 'https://other.example' } })],
    ['aud with a slash', () => issuer.mint({ claims: { aud: `${issuer.audience}/` } })],
    ['aud as a list', () => issuer.mint({ claims: { aud: [issuer.audience] } })],
    [
      'aud as a list with another',
      () => issuer.mint({ claims: { aud: ['https://other.example', issuer.audience] } }),
    ],
    ['a life of a day', () => issuer.mint({ claims: { exp: nowSeconds() + 24 * 3600 } })],
    [
      'a life of 901 seconds',
      () => {
        const now = nowSeconds()
        return issuer.mint({ claims: { iat: now, exp: now + 901 } })
      },
    ],
    [
      'iat an hour ahead',
      () => issuer.mint({ claims: { iat: nowSeconds() + 3600, exp: nowSeconds() + 4000 } }),
    ],
    ['iat 35 seconds ahead', () => issuer.mint({ claims: { iat: nowSeconds() + 35 } })],
    ['nbf an hour ahead', () => issuer.mint({ claims: { nbf: nowSeconds() + 3600 } })],
    ['auth_time with a fraction', () => issuer.mint({ claims: { auth_time: 1.5 } })],
    ['auth_time before 1970', () => issuer.mint({ claims: { auth_time: -1 } })],
    ['auth_time beyond numbers', () => issuer.mint({ claims: { auth_time: 2 ** 53 } })],
    ['spare bits set in the signature', async () => spareBits(await issuer.mint())],
    ['"==" after the signature', async () => `${await issuer.mint()}==`],
    [
      'a signature of DER',
      async () =>
        cutSignature(await issuer.mint(), (raw) =>
          Buffer.concat([Buffer.from('3046', 'hex'), raw]),
        ),
    ],
    [
      'a signature cut short',
      async () => cutSignature(await issuer.mint(), (raw) => raw.subarray(0, 63)),
    ],
    [
      'a signature of zeros (CVE-2022-21449)',
      async () => cutSignature(await issuer.mint(), () => Buffer.alloc(64)),
    ],
    ['no signature', async () => (await issuer.mint()).replace(/[^.]*$/, '')],
    [
      'a changed claim',
      async () => {
        const [header, , signature] = (await issuer.mint()).split('.')
        return `${header}.${segment({ ...goodClaims(issuer.issuer), role: 'admin' })}.${signature}`
      },
    ],
    ['four parts', async () => `${await issuer.mint()}.AAAA`],
    ['two parts', async () => (await issuer.mint()).split('.').slice(0, 2).join('.')],
    ['one part', () => 'A'.repeat(200)],
    ['spaces inside', async () => (await issuer.mint()).replace('.', '. ')],
    ['two tokens', async () => `${await issuer.mint()}, ${await issuer.mint()}`],
    ['5,000 characters', () => issuer.mint({ claims: { padding: 'x'.repeat(5_000) } })],
    [
      'deep JSON',
      () => `${Buffer.from('['.repeat(2_000)).toString('base64url')}.AAAA.${'A'.repeat(86)}`,
    ],
    ['a header that is no JSON', () => `AAAA.AAAA.${'A'.repeat(86)}`],
    ['a payload that is a list', async () => withPayload('[]')],
  ]

  test.each(cases)('every adapter refuses %s', async (_name, make) => {
    const token = await make()
    for (const adapter of adapters) {
      const answer = await services.me(adapter, `Bearer ${token}`)
      expect(answer).toMatchObject({
        status: 401,
        reason: 'access_token_invalid',
        data: undefined,
      })
      expect(answer.headers.get('www-authenticate')).toBe(
        'Bearer realm="token-ledger", error="invalid_token", error_description="The access token is not valid."',
      )
    }
  })

  test('a token with a newline at its end is refused, although no header can carry one', async () => {
    const keySource = await importJWK(issuer.publicJwk, 'ES256')
    await expect(
      verifyAccessToken(`${await issuer.mint()}\n`, () => keySource, issuer),
    ).rejects.toMatchObject({ reason: 'access_token_invalid' })
  })

  test('a token of a megabyte is refused before it is parsed; over HTTP Node itself answers 431', async () => {
    const token = `${await issuer.mint()}${'A'.repeat(1024 * 1024)}`
    let asked = 0
    const keySource = () => {
      asked += 1
      throw new Error('not to be asked')
    }
    await expect(verifyAccessToken(token, keySource, issuer)).rejects.toMatchObject({
      reason: 'access_token_invalid',
      detail: `${token.length} characters`,
    })
    expect(asked).toBe(0)
    for (const adapter of adapters) {
      // Node may hang up while the megabyte is still being sent: then there is no answer to read.
      expect(await rawAnswer(services.addresses[adapter], token)).toMatch(/^(HTTP\/1\.1 431 |$)/)
    }
    expect(await everywhere(await issuer.mint())).toEqual(all('accepted'))
  })

  test.each(['EdDSA', 'ES384', 'HS512'])(
    'a token of %s does not reach a key source that has its key (RFC 8725 §3.1)',
    async (alg) => {
      const secret = crypto.getRandomValues(new Uint8Array(64))
      const pair = alg === 'HS512' ? null : await generateKeyPair(alg)
      const token = await issuer.mint({ key: pair?.privateKey ?? secret, header: { alg } })
      let asked = 0
      const keySource = () => {
        asked += 1
        return pair?.publicKey ?? secret
      }
      await expect(verifyAccessToken(token, keySource, issuer)).rejects.toMatchObject({
        reason: 'access_token_invalid',
      })
      expect(asked).toBe(0)
    },
  )

  test('any text and any damage is refused as invalid or missing, never as an internal error', async () => {
    const token = await issuer.mint()
    const key = await importJWK(issuer.publicJwk, 'ES256')
    const damaged = fc
      .tuple(fc.nat(token.length - 1), fc.string({ maxLength: 4 }))
      .map(([at, text]) => token.slice(0, at) + text + token.slice(at + 1))
      .filter((text) => text !== token)
    const json = fc
      .tuple(fc.json(), fc.json())
      .map((parts) => parts.map((part) => Buffer.from(part).toString('base64url')))
      .map(([header, payload]) => `${header}.${payload}.${'A'.repeat(86)}`)
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.string({ unit: 'binary' }), damaged, json), async (text) => {
        const refusal = await verifyAccessToken(text, () => key, issuer).catch((error) => error)
        expect(refusal).toBeInstanceOf(AccessTokenError)
      }),
      { numRuns: 500 },
    )
  })

  test('AT-02 (ASVS 9.1.3): URLs in the header of a token are never fetched', async () => {
    let visits = 0
    const canary = createServer((_request, response) => {
      visits += 1
      response.end(JSON.stringify({ keys: [issuer.publicJwk] }))
    })
    await new Promise<void>((resolve) => canary.listen(0, '127.0.0.1', resolve))
    const url = `http://127.0.0.1:${(canary.address() as AddressInfo).port}/keys`
    for (const header of [{ jku: url }, { x5u: url }, { jku: url, kid: 'elsewhere' }]) {
      const token = await issuer.mint({ key: foreignKey, header })
      for (const adapter of adapters) {
        expect(await services.me(adapter, `Bearer ${token}`)).toMatchObject({ status: 401 })
      }
    }
    canary.close()
    expect(visits).toBe(0)
  })
})

describe('an expired token', () => {
  test.each([
    ['exp 31 seconds ago', -600, -31],
    ['exp ten minutes ago', -900, -600],
    ['minted 931 seconds ago', -931, -31],
  ])('every adapter answers access_token_expired: %s', async (_name, iat, exp) => {
    const now = nowSeconds()
    const token = await issuer.mint({ claims: { iat: now + iat, exp: now + exp } })
    for (const adapter of adapters) {
      const answer = await services.me(adapter, `Bearer ${token}`)
      expect(answer).toMatchObject({ status: 401, reason: 'access_token_expired' })
      expect(answer.headers.get('www-authenticate')).toBe(
        'Bearer realm="token-ledger", error="invalid_token", error_description="The access token has expired."',
      )
    }
  })

  test('an expired token of another key is invalid, not expired, because its claims are not trusted', async () => {
    const claims = { iat: nowSeconds() - 600, exp: nowSeconds() - 60 }
    expect(await everywhere(await issuer.mint({ claims, key: foreignKey }))).toEqual(
      all('access_token_invalid'),
    )
  })
})

describe('a request without a token', () => {
  test.each([
    ['no Authorization header', null],
    ['an empty header', ''],
    ['the scheme alone', 'Bearer'],
    ['the scheme and a space', 'Bearer '],
    ['another scheme', 'Basic dXNlcjpwYXNz'],
    ['a word that begins with the scheme', 'bearertoken'],
  ])(
    'AT-10 (RFC 6750 §3.1): %s is answered with the scheme and no error code',
    async (_what, authorization) => {
      for (const adapter of adapters) {
        const answer = await services.me(adapter, authorization)
        expect(answer).toMatchObject({ status: 401, reason: 'access_token_missing' })
        expect(answer.headers.get('www-authenticate')).toBe('Bearer realm="token-ledger"')
        expect(answer.headers.get('cache-control')).toBe('no-store')
      }
    },
  )

  test('AT-11 (RFC 6750 §5.3): a token in the query, a cookie or a form is not read', async () => {
    const token = await issuer.mint()
    for (const adapter of adapters) {
      const url = `${services.addresses[adapter]}/me`
      const places = [
        fetch(`${url}?access_token=${token}`),
        fetch(`${url}?connectionParams=${encodeURIComponent(JSON.stringify({ token }))}`),
        fetch(url, { headers: { cookie: `access_token=${token}; Authorization=Bearer ${token}` } }),
      ]
      for (const response of await Promise.all(places)) {
        expect(response.status).toBe(401)
        expect(await response.text()).toContain('access_token_missing')
      }
    }
    const form = await fetch(`${services.addresses.fastify}/me`, {
      method: 'POST',
      body: new URLSearchParams({ access_token: token }),
    })
    expect(form.status).toBe(401)
  })
})

test('only guarded routes ask for a token, and an unguarded one cannot read the caller', async () => {
  const { fastify, trpc } = services.addresses
  expect((await fetch(`${fastify}/open`)).status).toBe(200)
  expect((await fetch(`${trpc}/open`)).status).toBe(200)
  const authorization = `Bearer ${await issuer.mint()}`
  const unguarded = await fetch(`${fastify}/unguarded`, { headers: { authorization } })
  expect(unguarded.status).toBe(500)
})

/** The verdict of each adapter on a token: the reason of the refusal, or `accepted`. */
async function everywhere(token: string): Promise<Record<string, unknown>> {
  const said = await Promise.all(adapters.map((adapter) => services.me(adapter, `Bearer ${token}`)))
  return Object.fromEntries(
    said.map(({ status, reason }, i) => [adapters[i], status === 200 ? 'accepted' : reason]),
  )
}

function all(outcome: string): Record<string, string> {
  return Object.fromEntries(adapters.map((adapter) => [adapter, outcome]))
}

/** The answer of a service to a handwritten request, without an HTTP client's help. */
function rawAnswer(address: string, token: string): Promise<string> {
  return new Promise((resolve) => {
    let answer = ''
    const socket = connect(Number(new URL(address).port), '127.0.0.1')
    socket.on('data', (chunk) => (answer += chunk.toString()))
    socket.on('error', () => {})
    socket.on('close', () => resolve(answer))
    socket.end(`GET /me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n\r\n`)
  })
}

function segment(json: unknown): string {
  return Buffer.from(JSON.stringify(json)).toString('base64url')
}

function unsigned(header: Record<string, unknown>): string {
  return `${segment(header)}.${segment(goodClaims(issuer.issuer))}.`
}

/** A valid signature under a header that jose would not write. */
async function withHeader(header: Record<string, unknown>): Promise<string> {
  const [, payload, signature] = (await issuer.mint()).split('.')
  return `${segment(header)}.${payload}.${signature}`
}

async function withPayload(json: string): Promise<string> {
  const [header, , signature] = (await issuer.mint()).split('.')
  return `${header}.${Buffer.from(json).toString('base64url')}.${signature}`
}

async function withOtherAlgorithm(alg: string): Promise<string> {
  const { privateKey } = await generateKeyPair(alg)
  return issuer.mint({ key: privateKey, header: { alg } })
}

async function publicPem(): Promise<string> {
  return exportSPKI((await importJWK(issuer.publicJwk, 'ES256')) as CryptoKey)
}

function hs256(secret: string | Uint8Array): Promise<string> {
  const key = typeof secret === 'string' ? new TextEncoder().encode(secret) : secret
  return issuer.mint({ key, header: { alg: 'HS256' } })
}

function cutSignature(token: string, change: (raw: Buffer) => Buffer): string {
  const [header, payload, signature] = token.split('.')
  return `${header}.${payload}.${change(Buffer.from(signature!, 'base64url')).toString('base64url')}`
}

/** Another last character with the same bytes. */
function spareBits(token: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const last = alphabet.indexOf(token.at(-1)!)
  return `${token.slice(0, -1)}${alphabet[last + 1]}`
}

function withOtherS(token: string): string {
  const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
  return cutSignature(token, (raw) => {
    const s = BigInt(`0x${raw.subarray(32).toString('hex')}`)
    const other = (order - s).toString(16).padStart(64, '0')
    return Buffer.concat([raw.subarray(0, 32), Buffer.from(other, 'hex')])
  })
}
