import { createHmac, generateKeyPairSync, sign, type KeyObject } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { beforeAll, expect, test } from 'vitest'
import { adminEmail, attackedServer } from '../support/attacked-server.ts'
import { claimsOf, es256, openForge, segment, type Change, type Forge } from '../support/forge.ts'
import { auth } from '../support/http.ts'
import { signIn, type BodySession } from '../support/sessions.ts'
import { testPassword } from '../support/users.ts'

const world = attackedServer()
let forge: Forge
/** The session of an admin: a forged token that is accepted would open every procedure. */
let session: BodySession

beforeAll(async () => {
  forge = await openForge(world.database.url)
  session = await signIn(world, adminEmail)
})

/** One procedure that needs only the token, one that checks the session, one that checks the role. */
const doors = ['me', 'sessions.list', 'admin.users.list']

const knock = (door: string, token: string) =>
  world.request(`/trpc/${door}`, {
    method: 'GET',
    headers: { authorization: `Bearer ${token}` },
  })

type Tokens = Record<string, string>

/** Each procedure refuses each of these tokens for this reason, and no table changes. */
async function expectRefused(tokens: Tokens, reason = 'access_token_invalid'): Promise<void> {
  const refused: Tokens = Object.fromEntries(Object.keys(tokens).map((name) => [name, reason]))
  await world.unchanged(async () => {
    for (const door of doors) {
      const said: Record<string, unknown> = {}
      for (const [name, token] of Object.entries(tokens)) {
        const answer = await knock(door, token)
        said[name] = answer.reason ?? answer.status
        expect([door, name, answer.status]).toEqual([door, name, 401])
        expect(answer.headers['www-authenticate']).toContain('error="invalid_token"')
      }
      expect(said).toEqual(refused)
    }
  })
}

const mint = (change?: Change) => forge.mint(session.accessToken, change)
const minted = <Value>(values: readonly Value[], change: (value: Value) => Change): Tokens =>
  Object.fromEntries(values.map((value) => [nameOf(value), mint(change(value))]))

function nameOf(value: unknown): string {
  return (JSON.stringify(value) ?? 'left out').slice(0, 60)
}

const nothing = () => Buffer.alloc(0)
const hmac = (secret: string | Buffer) => (input: string) =>
  createHmac('sha256', secret).update(input).digest()
const nowSeconds = () => Math.floor(Date.now() / 1000)

test('control: every procedure accepts a token that the test signs with the key of the service', async () => {
  for (const door of doors) expect((await knock(door, mint())).status).toBe(200)
})

test('AT-01, V12 (RFC 8725 §3.2, ASVS 9.1.2): alg none is refused in every casing, with and without a signature', async () => {
  const casings = ['none', 'None', 'NONE', 'nOnE', ' none', 'none ', '', null, [], undefined]
  await expectRefused(minted(casings, (alg) => ({ header: { alg }, signature: nothing })))
  await expectRefused(minted(casings, (alg) => ({ header: { alg } })))
  const noKid = { alg: 'none', kid: undefined, typ: undefined }
  await expectRefused({ bare: mint({ header: noKid, signature: nothing }) })
})

test('AT-01, V12 (RFC 8725 §3.1, ASVS 9.1.2): HS256 with the public key as its secret is refused, in every encoding of the key', async () => {
  const { publicKey, kid } = forge
  const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString()
  const jwk = publicKey.export({ format: 'jwk' })
  const [x, y] = [jwk.x!, jwk.y!].map((part) => Buffer.from(part, 'base64url'))
  const published = await (await fetch(`${world.url}/.well-known/jwks.json`)).json()
  const secrets: Record<string, string | Buffer> = {
    'the PEM': pem,
    'the PEM without its last newline': pem.trimEnd(),
    'the PEM after a space': ` ${pem}`,
    'the PEM after a newline': `\n${pem}`,
    'the PEM with CRLF': pem.replaceAll('\n', '\r\n'),
    'the DER': publicKey.export({ type: 'spki', format: 'der' }),
    'the JWK': JSON.stringify(jwk),
    'the JWK as published': JSON.stringify((published as { keys: object[] }).keys[0]),
    'the JWKS as published': JSON.stringify(published),
    x: x!,
    'x and y': Buffer.concat([x!, y!]),
    'the point': Buffer.concat([Buffer.from([4]), x!, y!]),
    'the kid': kid,
    nothing: '',
  }
  for (const alg of ['HS256', 'HS384', 'HS512'])
    await expectRefused(
      Object.fromEntries(
        Object.entries(secrets).map(([name, secret]) => [
          name,
          mint({ header: { alg }, signature: hmac(secret) }),
        ]),
      ),
    )
  // The same HMAC under ES256, doubled so that the signature has the right length.
  const doubled = (input: string) => Buffer.concat([hmac(pem)(input), hmac(pem)(input)])
  await expectRefused({ 'as ES256': mint({ signature: doubled }) })
})

test('AT-01, V12 (RFC 8725 §3.1, ASVS 9.1.2): other algorithms and other keys are refused', async () => {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
  const ed = generateKeyPairSync('ed25519').privateKey
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey
  const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  const by = (hash: string | null, key: KeyObject) => (input: string) =>
    sign(hash, Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' })
  await expectRefused({
    'ES256 of a stranger': mint({ signature: es256(p256) }),
    RS256: mint({ header: { alg: 'RS256' }, signature: by('sha256', rsa) }),
    'RS256, called ES256': mint({ signature: by('sha256', rsa) }),
    PS256: mint({ header: { alg: 'PS256' }, signature: by('sha256', rsa) }),
    ES384: mint({ header: { alg: 'ES384' }, signature: by('sha384', p384) }),
    EdDSA: mint({ header: { alg: 'EdDSA' }, signature: by(null, ed) }),
    Ed25519: mint({ header: { alg: 'Ed25519' }, signature: by(null, ed) }),
    'our key, called es256': mint({ header: { alg: 'es256' } }),
    'our key, called ES256K': mint({ header: { alg: 'ES256K' } }),
    'our key, called RS256': mint({ header: { alg: 'RS256' } }),
    'our key, a list of algorithms': mint({ header: { alg: ['ES256'] } }),
    'zeros (CVE-2022-21449)': mint({ signature: () => Buffer.alloc(64) }),
    'a signature in DER': mint({
      signature: (input) => sign('sha256', Buffer.from(input), forge.privateKey),
    }),
  })
})

test('AT-02 (ASVS 9.1.3, RFC 8725 §3.10): a key or a URL in the header is neither trusted nor fetched', async () => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const own = { ...publicKey.export({ format: 'jwk' }), kid: 'mine', alg: 'ES256', use: 'sig' }
  const visits: string[] = []
  const canary = createServer((request, response) => {
    visits.push(String(request.url))
    response.end(JSON.stringify({ keys: [own] }))
  })
  await new Promise<void>((resolve) => canary.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(canary.address() as AddressInfo).port}`
  const der = publicKey.export({ type: 'spki', format: 'der' }).toString('base64')
  const headers = [
    { jwk: own },
    { jwk: own, kid: undefined },
    { jwk: own, kid: 'mine' },
    { jku: `${url}/jku` },
    { jku: `${url}/jku`, kid: 'mine' },
    { x5u: `${url}/x5u`, kid: 'mine' },
    { x5c: [der], kid: 'mine' },
    { x5t: 'AAAA', 'x5t#S256': 'AAAA' },
    { kid: `${url}/kid` },
    { iss: url, jku: `${url}/.well-known/jwks.json` },
  ]
  const signature = es256(privateKey)
  await expectRefused(minted(headers, (header) => ({ header, signature })))
  canary.close()
  expect(visits).toEqual([])
})

test('AT-02 (ASVS 9.1.3, RFC 8725 §3.10): a token whose kid is not the one of a published key is refused', async () => {
  const { kid } = forge
  const kids = [
    undefined,
    null,
    '',
    1,
    true,
    [kid],
    { kid },
    '../../../../dev/null',
    '/proc/sys/kernel/randomize_va_space',
    'file:///etc/passwd',
    "' or '1'='1",
    `${kid}' --`,
    '__proto__',
    'constructor',
    'toString',
    kid.toUpperCase(),
    ` ${kid}`,
    `${kid}\0`,
    '$(id)',
    'k'.repeat(2_000),
    'k'.repeat(10 * 1024),
  ]
  await expectRefused(minted(kids, (other) => ({ header: { kid: other } })))
})

test('AT-03 (RFC 9068 §4, RFC 8725 §3.11): only the type at+jwt is accepted', async () => {
  const types = [undefined, null, '', 'JWT', 'jwt', 'refresh+jwt', 'id+jwt', 'logout+jwt', 'at', 1]
  await expectRefused(minted(types, (typ) => ({ header: { typ } })))
  // Media types ignore case and may leave out "application/" (RFC 7515 §4.1.9).
  for (const typ of ['AT+JWT', 'application/at+jwt'])
    expect((await knock('me', mint({ header: { typ } }))).status).toBe(200)
})

test.each('iss aud sub sid client_id jti iat exp auth_time role email'.split(' '))(
  'AT-04 (RFC 9068 §2.2 and §4, ASVS 9.2.1): a token without %s, or with a value of another type, is refused',
  async (claim) => {
    const values = [undefined, null, '', [], {}, true, ['a']]
    await expectRefused(minted(values, (value) => ({ claims: { [claim]: value } })))
  },
)

test('AT-05 (ASVS 9.2.1, RFC 8725 §3.10): a token that lives longer than 15 minutes or is not valid yet is refused', async () => {
  const now = nowSeconds()
  await expectRefused({
    'a day': mint({ claims: { iat: now, exp: now + 24 * 3600 } }),
    '901 seconds': mint({ claims: { iat: now, exp: now + 901 } }),
    'for ever': mint({ claims: { iat: now, exp: 8.64e12 } }),
    'begun in an hour': mint({ claims: { iat: now + 3600, exp: now + 4000 } }),
    'begun in two minutes': mint({ claims: { iat: now + 120, exp: now + 600 } }),
    'good in an hour': mint({ claims: { nbf: now + 3600 } }),
    'a text': mint({ claims: { exp: String(now + 600) } }),
    'a fraction': mint({ claims: { exp: now + 600.5 } }),
    'beyond numbers': mint({
      payload: JSON.stringify(claimsOf(session.accessToken)).replace(/"exp":\d+/, '"exp":1e400'),
    }),
  })
  const over = {
    'before 1970': mint({ claims: { iat: -600, exp: -60 } }),
    'long over': mint({ claims: { iat: now - 1800, exp: now - 900 } }),
    'just over': mint({ claims: { iat: now - 600, exp: now - 35 } }),
  }
  await expectRefused(over, 'access_token_expired')
})

test('AT-06 (RFC 9068 §4, ASVS 9.2.3): issuer and audience must match exactly', async () => {
  const { iss, aud } = claimsOf(session.accessToken) as { iss: string; aud: string }
  const others = (own: string) => [
    `${own}/`,
    ` ${own}`,
    own.toUpperCase(),
    own.replace('127.0.0.1', 'localhost'),
    own.replace('http:', 'https:'),
    'https://evil.example',
    [own],
    [own, 'https://other.example'],
  ]
  await expectRefused(minted(others(iss), (other) => ({ claims: { iss: other } })))
  await expectRefused(minted(others(aud), (other) => ({ claims: { aud: other } })))
})

test('AT-07 (RFC 9068 §4, JWT denylist by id): no other spelling of an access token outlives its session', async () => {
  const own = await signIn(world, adminEmail)
  const { accessToken } = own
  const [header, payload, signature] = accessToken.split('.') as [string, string, string]
  const spellings = {
    itself: accessToken,
    'the other s': `${header}.${payload}.${otherS(signature)}`,
    'spare bits': `${accessToken.slice(0, -1)}${nextLetter(accessToken.at(-1)!)}`,
    padded: `${accessToken}==`,
    'with a space behind': `${accessToken} `,
    'the payload padded': `${header}.${payload}=.${signature}`,
    'as base64': `${header}.${payload}.${Buffer.from(signature, 'base64url').toString('base64')}`,
  }
  // ECDSA has two valid signatures for each message: the service accepts both while the session is active.
  for (const door of doors) expect((await knock(door, spellings['the other s'])).status).toBe(200)
  await auth(world.url, 'logout', { refreshToken: own.refreshToken })
  await world.unchanged(async () => {
    for (const door of ['sessions.list', 'admin.users.list', 'admin.ledger.events'])
      for (const [name, token] of Object.entries(spellings)) {
        const { status, reason } = await knock(door, token)
        expect([name, status]).toEqual([name, 401])
        expect(reason).toMatch(/^access_token_(revoked|invalid)$/)
      }
  })
})

test('AT-18 (OpenID Connect Core §5.1): the address of an account that was merely registered is not called verified', async () => {
  const email = 'ceo@bank.example'
  const { data } = await auth(world.url, 'register', { email, password: testPassword })
  expect(claimsOf(data.accessToken)).toMatchObject({ email, email_verified: false })
})

test('AT-09 (RFC 9068 §6, ASVS 14.1.1): an access token names the user, the session and its expiry, and nothing else', () => {
  expect(Object.keys(claimsOf(session.accessToken)).toSorted()).toEqual([
    'amr',
    'aud',
    'auth_time',
    'client_id',
    'email',
    'email_verified',
    'exp',
    'iat',
    'iss',
    'jti',
    'role',
    'sid',
    'sub',
  ])
})

test('AT-14 (ASVS 4.2.5): a value that cannot be an access token is refused before any work is done', async () => {
  const good = mint()
  const [header, payload, signature] = good.split('.') as [string, string, string]
  const withHeader = (text: string) => `${segment(text)}.${payload}.${signature}`
  const jwe = { alg: 'PBES2-HS256+A128KW', enc: 'A128GCM', p2c: 1e9, p2s: 'AAAA', zip: 'DEF' }
  await expectRefused({
    'one part': 'A'.repeat(200),
    'two parts': `${header}.${payload}`,
    'four parts': `${good}.AAAA`,
    'a JWE of a billion rounds': `${segment(JSON.stringify(jwe))}.AAAA.AAAA.AAAA.AAAA`,
    dots: '.'.repeat(3_000),
    zip: mint({ header: { zip: 'DEF' }, payload: 'x'.repeat(1_000) }),
    crit: mint({ header: { crit: ['exp'] } }),
    'crit of its own': mint({ header: { crit: ['x'], x: 1 } }),
    'b64 false': mint({ header: { b64: false, crit: ['b64'] } }),
    'a header that is no JSON': `AAAA.${payload}.${signature}`,
    'a header that is a list': withHeader('[]'),
    'a header that is null': withHeader('null'),
    'a deep header': withHeader('['.repeat(1_400)),
    'a deep payload': mint({ payload: '['.repeat(2_500) }),
    'a payload that is a list': mint({ payload: '[]' }),
    'a payload that is null': mint({ payload: 'null' }),
    'a payload with a NUL': mint({ payload: `${JSON.stringify(claimsOf(good))}\0` }),
    'an empty payload': mint({ payload: '' }),
    '5,000 characters': mint({ claims: { padding: 'x'.repeat(5_000) } }),
    '12,000 characters': mint({ claims: { padding: 'x'.repeat(9_000) } }),
  })
  const megabyte = `GET /trpc/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${'A'.repeat(1024 * 1024)}\r\n\r\n`
  const { statuses } = await world.raw(megabyte)
  // Node may hang up while the megabyte is still being sent: then there is no answer to read.
  expect([[431], []]).toContainEqual(statuses)
})

test('AT-16 (ASVS 1.5.3): of a repeated claim the last one counts, and the service writes each claim once', async () => {
  const payload = Buffer.from(session.accessToken.split('.')[1]!, 'base64url').toString()
  for (const claim of Object.keys(claimsOf(session.accessToken)))
    expect(payload.split(`"${claim}":`)).toHaveLength(2)
  const twice = mint({ payload: payload.replace(/}$/, ',"role":"user"}') })
  expect((await knock('me', twice)).body.result.data.user.role).toBe('user')
})

test('JK-01, JK-02, JK-03 (RFC 7517 §9.2, RFC 9111): the JWKS shows public members alone and each key whole, and caches may store it', async () => {
  const answer = await world.request('/.well-known/jwks.json', { method: 'GET' })
  const { keys } = answer.body as { keys: Record<string, string>[] }
  expect(keys.length).toBeGreaterThan(0)
  for (const key of keys) {
    expect(Object.keys(key).toSorted()).toEqual(['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y'])
    expect(key).toMatchObject({ alg: 'ES256', use: 'sig', kty: 'EC', crv: 'P-256' })
  }
  expect(new Set(keys.map(({ kid }) => kid)).size).toBe(keys.length)
  expect(answer.headers['cache-control']).toBe('public, max-age=300')
  const others = [
    await world.request('/auth/refresh', { json: {} }),
    await knock('me', session.accessToken),
    await knock('me', 'nonsense'),
  ]
  for (const { headers } of others) expect(headers['cache-control']).toBe('no-store')
})

test('JK-07 (ASVS 4.1.2): the JWKS and the issuer of a token ignore the Host header and forwarded headers', async () => {
  const lies = [
    { host: 'evil.example' },
    { 'x-forwarded-host': 'evil.example', 'x-forwarded-proto': 'https' },
    { forwarded: 'for=1.2.3.4;host=evil.example;proto=https' },
    { 'x-original-url': '/evil', 'x-rewrite-url': '/evil' },
  ]
  const honest = await world.request('/.well-known/jwks.json', { method: 'GET' })
  let { refreshToken } = await signIn(world, adminEmail)
  for (const headers of lies) {
    const lied = await world.request('/.well-known/jwks.json', { method: 'GET', headers })
    expect(lied.text).toBe(honest.text)
    const refreshed = await world.request('/auth/refresh', { json: { refreshToken }, headers })
    ;({ refreshToken } = refreshed.body.result.data)
    expect(claimsOf(refreshed.body.result.data.accessToken)).toMatchObject({
      iss: world.url,
      aud: world.url,
    })
  }
})

/** (r, n−s) is as valid a signature as (r, s). */
function otherS(signature: string): string {
  const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
  const raw = Buffer.from(signature, 'base64url')
  const s = BigInt(`0x${raw.subarray(32).toString('hex')}`)
  const other = Buffer.from((order - s).toString(16).padStart(64, '0'), 'hex')
  return Buffer.concat([raw.subarray(0, 32), other]).toString('base64url')
}

/** Another last character that decodes to the same bytes. */
function nextLetter(letter: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  return alphabet[alphabet.indexOf(letter) + 1]!
}
