import { errors, importJWK, type CryptoKey, type JWTVerifyGetKey } from 'jose'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { AccessTokenError, createVerifier } from '../../server/verifier/index.ts'
import { createVerifiedTokens } from '../../server/verifier/verified-tokens.ts'
import { verifierOf } from '../../server/verifier/verifier.ts'
import { audience, goodClaims, nowSeconds, startIssuer, type Issuer } from './issuer.ts'

let issuer: Issuer

beforeAll(async () => {
  issuer = await startIssuer()
})
afterAll(() => issuer?.[Symbol.asyncDispose]())

test('a token that was accepted is accepted again without a second check of its signature', async () => {
  const { verifier, token } = await acceptedOnce()
  const first = await verifier.verify(token)
  expect(await verifier.verifyAuthorization(`Bearer ${token}`)).toEqual(first)
  expect(verifier.cacheStats()).toEqual({ size: 1, hits: 2, misses: 1 })
})

test('the cache never answers for a token that has expired', async () => {
  const { verifier, token, clock } = await acceptedOnce()
  clock.now += (900 + 30) * 1000 - 1
  await verifier.verify(token)
  expect(verifier.cacheStats().hits).toBe(1)
  clock.now += 1
  expect(await reasonOf(verifier.verify(token))).toBe('access_token_expired')
  expect(verifier.cacheStats().hits).toBe(1)
})

test('the cache answers anew whether the sign-in is recent enough, at each call', async () => {
  const { verifier, token, clock } = await acceptedOnce()
  const { authenticatedAt } = await verifier.verify(token)
  clock.now = authenticatedAt + 600_000
  await verifier.verify(token, { maxAuthAgeSeconds: 600 })
  clock.now += 1
  expect(await reasonOf(verifier.verify(token, { maxAuthAgeSeconds: 600 }))).toBe(
    'step_up_required',
  )
  const asked = verifier.verifyAuthorization(`Bearer ${token}`, { maxAuthAgeSeconds: 600 })
  expect(await reasonOf(asked)).toBe('step_up_required')
  // It is still a valid token, for calls that do not ask.
  await verifier.verify(token)
  expect(verifier.cacheStats()).toEqual({ size: 1, hits: 5, misses: 1 })
})

test('a verifier asks each call for a recent sign-in, unless the call brings a limit of its own', async () => {
  const token = await issuer.mint()
  const verifier = createVerifier({ ...issuer, maxAuthAgeSeconds: 30 })
  expect(await reasonOf(verifier.verify(token))).toBe('step_up_required')
  expect(await reasonOf(verifier.verify(token, { maxAuthAgeSeconds: 90 }))).toBe('accepted')
  expect(await reasonOf(verifier.verify(token, { maxAuthAgeSeconds: NaN }))).toBe(
    'step_up_required',
  )
  for (const maxAuthAgeSeconds of [-1, 1.5, NaN])
    expect(() => createVerifier({ ...issuer, maxAuthAgeSeconds })).toThrow(TypeError)
})

test('a token without auth_time is refused, with a limit and without', async () => {
  const token = await issuer.mint({ claims: { auth_time: undefined } })
  const verifier = createVerifier(issuer)
  expect(await reasonOf(verifier.verify(token))).toBe('access_token_invalid')
  expect(await reasonOf(verifier.verify(token, { maxAuthAgeSeconds: 600 }))).toBe(
    'access_token_invalid',
  )
})

test('the cache never answers before the time at which the token was checked, after a clock was set back', async () => {
  const clock = { now: Date.now() }
  const nbf = Math.floor(clock.now / 1000)
  const token = await issuer.mint({ claims: { nbf } })
  const { verifier } = await acceptedOnce({ clock, token })
  clock.now -= 60_000
  expect(await reasonOf(verifier.verify(token))).toBe('access_token_invalid')
})

test('the cache never answers for a token whose key is gone', async () => {
  const { verifier, token, keys } = await acceptedOnce()
  keys.current = null
  expect(await reasonOf(verifier.verify(token))).toBe('access_token_invalid')
  expect(verifier.cacheStats().hits).toBe(0)
})

test('the cache never answers with another key under the same kid', async () => {
  const { verifier, token, keys } = await acceptedOnce()
  await using other = await startIssuer()
  keys.current = await keyOf(other)
  expect(await reasonOf(verifier.verify(token))).toBe('access_token_invalid')
  // The same key, read once more, is another object: the token is checked in full, and accepted.
  keys.current = await keyOf(issuer)
  await verifier.verify(token)
  expect(verifier.cacheStats().hits).toBe(0)
  await verifier.verify(token)
  expect(verifier.cacheStats().hits).toBe(1)
})

test('the cache never answers while the keys are too old to be used: 503, as without a cache', async () => {
  const { verifier, token, keys } = await acceptedOnce()
  keys.failure = new Error('the keys cannot be fetched')
  expect(await reasonOf(verifier.verify(token))).toBe('service_unavailable')
  keys.failure = null
  await verifier.verify(token)
})

test('the cache never answers for a token whose session has ended', async () => {
  const ended = new Set<string>()
  const { verifier, token } = await acceptedOnce({
    checkSession: async (familyId) => {
      if (ended.has(familyId)) throw new AccessTokenError('access_token_revoked', 'ended')
    },
  })
  const { familyId } = await verifier.verify(token)
  ended.add(familyId)
  expect(await reasonOf(verifier.verify(token))).toBe('access_token_revoked')
})

test('the cache never answers for a token of another audience or issuer: no two verifiers share one', async () => {
  const token = await issuer.mint()
  const other = 'https://other.example.com'
  const verifiers = [
    { issuer: issuer.issuer, audience },
    { issuer: issuer.issuer, audience: other },
    { issuer: other, audience },
  ].map((options) =>
    createVerifier({ ...options, jwksUrl: `${issuer.issuer}/.well-known/jwks.json` }),
  )
  const outcomes = []
  for (const verifier of [...verifiers, ...verifiers])
    outcomes.push(await reasonOf(verifier.verify(token)))
  const once = ['accepted', 'access_token_invalid', 'access_token_invalid']
  expect(outcomes).toEqual([...once, ...once])
  expect(verifiers.map((verifier) => verifier.cacheStats().size)).toEqual([1, 0, 0])
})

test('the cache never answers for a token that is altered in one character, wherever it is', async () => {
  const { verifier, token } = await acceptedOnce()
  const altered = Array.from(token, (letter, i) => {
    const other = letter === 'A' ? 'B' : 'A'
    return token.slice(0, i) + other + token.slice(i + 1)
  })
  for (const text of [...altered, `${token}A`, token.slice(0, -1), token.slice(1)])
    expect(await reasonOf(verifier.verify(text))).toBe('access_token_invalid')
  expect(verifier.cacheStats()).toMatchObject({ size: 1, hits: 0 })
})

test('no token that failed the check is kept', async () => {
  const { verifier } = await acceptedOnce()
  const now = nowSeconds()
  const refused = [
    await issuer.mint({ claims: { iat: now - 1000, exp: now - 100 } }),
    await issuer.mint({ claims: { role: 'root' } }),
    (await issuer.mint()).replace(/.$/, (last) => (last === 'A' ? 'Q' : 'A')),
    'text',
  ]
  for (const token of refused) await reasonOf(verifier.verify(token))
  expect(verifier.cacheStats()).toMatchObject({ size: 1, hits: 0 })
})

test('a flood of a million different tokens stays within the bound, and a token in use is still answered', async () => {
  const max = 1_000
  const key = await keyOf(issuer)
  const tokens = createVerifiedTokens({ max, keySource: () => key, now: Date.now })
  const { claims } = await acceptedOnce()
  const verified = { claims, signer: { key, header: { alg: 'ES256' } } }
  tokens.add('in use', verified)
  let largest = 0
  for (let i = 0; i < 1_000_000; i += 1) {
    tokens.add(`flood ${i}`, verified)
    if (i % 100 !== 0) continue
    expect(await tokens.find('in use')).toBe(claims)
    largest = Math.max(largest, tokens.stats().size)
  }
  expect(largest).toBeGreaterThan(max / 2)
  expect(largest).toBeLessThanOrEqual(max)
  expect(await tokens.find('flood 0')).toBeNull()
  expect(await tokens.find('flood 999999')).toBe(claims)
})

test('the claims of a kept token are frozen, so no call can change those of the next', async () => {
  const { verifier, token, claims } = await acceptedOnce()
  expect(Object.isFrozen(claims)).toBe(true)
  expect(() => Object.assign(claims, { role: 'admin' })).toThrow(TypeError)
  expect((await verifier.verify(token)).role).toBe('user')
})

test('a verifier that is to keep no tokens checks each in full', async () => {
  const { verifier, token } = await acceptedOnce({ maxCachedTokens: 0 })
  await verifier.verify(token)
  expect(verifier.cacheStats()).toEqual({ size: 0, hits: 0, misses: 2 })
})

/** A verifier with a clock and keys of the test, and a token that it has accepted. */
async function acceptedOnce(
  options: {
    readonly clock?: { now: number }
    readonly token?: string
    readonly checkSession?: (familyId: string) => Promise<void>
    readonly maxCachedTokens?: number
  } = {},
) {
  const { clock = { now: Date.now() } } = options
  const keys: { current: CryptoKey | null; failure: Error | null } = {
    current: await keyOf(issuer),
    failure: null,
  }
  const keySource: JWTVerifyGetKey = () => {
    if (keys.failure !== null) throw keys.failure
    if (keys.current === null) throw new errors.JWKSNoMatchingKey()
    return keys.current
  }
  const expected = { issuer: issuer.issuer, audience, now: () => clock.now }
  const verifier = verifierOf(keySource, expected, options)
  const iat = Math.floor(clock.now / 1000)
  const token =
    options.token ??
    (await issuer.mint({ claims: { ...goodClaims(issuer.issuer), iat, exp: iat + 900 } }))
  // Whole seconds, as in the token.
  clock.now = iat * 1000
  return { verifier, token, clock, keys, claims: await verifier.verify(token) }
}

async function keyOf({ publicJwk }: Issuer): Promise<CryptoKey> {
  return (await importJWK(publicJwk, 'ES256')) as CryptoKey
}

const reasonOf = (checked: Promise<unknown>) =>
  checked.then(
    () => 'accepted',
    (error: { reason?: string }) => error.reason,
  )
