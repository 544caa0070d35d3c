import { expect, test } from 'vitest'
import { createVerifier } from '../../server/verifier/verifier.ts'
import { verifyAccessToken } from '../../server/verifier/index.ts'
import { remoteKeys, remoteKeysTiming } from '../../server/verifier/remote-keys.ts'
import type { RemoteKeysTiming } from '../../server/verifier/remote-keys.ts'
import { startIssuer } from './issuer.ts'
import type { Issuer } from './issuer.ts'
import { adapters, startServices } from './services-process.ts'

/** The real proportions, fast: what takes five minutes takes 300 ms. */
const fast: RemoteKeysTiming = {
  refreshMs: 300,
  retentionMs: 1200,
  cooldownMs: 150,
  spacingMs: 100,
  timeoutMs: 60,
}

function verifierWith(issuer: Issuer, timing: Partial<RemoteKeysTiming> = {}) {
  const url = new URL(`${issuer.issuer}/.well-known/jwks.json`)
  const keySource = remoteKeys(url, { ...remoteKeysTiming, ...timing })
  return { verify: (token: string) => verifyAccessToken(token, keySource, issuer) }
}

const outcomeOf = (checked: Promise<unknown>) =>
  checked.then(
    () => 'accepted',
    (error: { reason?: string }) => error.reason,
  )

const after = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

test('the keys are fetched at the first token, once, and not before', async () => {
  await using issuer = await startIssuer()
  const verifier = createVerifier(issuer)
  expect(issuer.fetches()).toBe(0)
  const tokens = await Promise.all(Array.from({ length: 50 }, () => issuer.mint()))
  await Promise.all(tokens.map((token) => verifier.verify(token)))
  expect(issuer.fetches()).toBe(1)
})

test('JK-05 (RFC 8725 §3.10): a flood of unknown kids causes one fetch per cooldown', async () => {
  await using issuer = await startIssuer()
  const cooldownMs = 400
  const { verify } = verifierWith(issuer, { cooldownMs, spacingMs: 0 })
  await verify(await issuer.mint())
  await after(cooldownMs + 50)
  const floodAt = performance.now()
  for (let i = 0; i < 100; i += 1) {
    const token = await issuer.mint({ header: { kid: `unknown-${i}` } })
    expect(await outcomeOf(verify(token))).toBe('access_token_invalid')
  }
  // One at the first token, one at the first unknown kid, and one more for each cooldown of the flood.
  const cooldowns = Math.floor((performance.now() - floodAt) / cooldownMs)
  expect(issuer.fetches()).toBeGreaterThanOrEqual(2)
  expect(issuer.fetches()).toBeLessThanOrEqual(2 + cooldowns)
  expect(await outcomeOf(verify(await issuer.mint()))).toBe('accepted')
})

test('a new key is found as soon as a token names it', async () => {
  await using issuer = await startIssuer()
  const { verify } = verifierWith(issuer, { cooldownMs: 100, spacingMs: 0 })
  const old = await issuer.mint()
  await verify(old)
  issuer.published.push(await issuer.rotateKey())
  await after(120)
  expect(await outcomeOf(verify(await issuer.mint()))).toBe('accepted')
  expect(await outcomeOf(verify(old))).toBe('accepted')
})

test.each(['500', 'not json', 'never'] as const)(
  'keys that cannot be fetched (%s) say nothing about the token: 503, and later it is accepted',
  async (how) => {
    await using issuer = await startIssuer()
    issuer.answer(how)
    const { verify } = verifierWith(issuer, fast)
    const token = await issuer.mint()
    expect(await outcomeOf(verify(token))).toBe('service_unavailable')
    issuer.answer('well')
    await after(fast.spacingMs + 20)
    expect(await outcomeOf(verify(token))).toBe('accepted')
  },
)

test('while fetching fails it is tried once per spacing, however many tokens come', async () => {
  await using issuer = await startIssuer()
  issuer.answer('500')
  const { verify } = verifierWith(issuer, { spacingMs: 60_000 })
  for (let i = 0; i < 50; i += 1) {
    expect(await outcomeOf(verify(await issuer.mint()))).toBe('service_unavailable')
  }
  expect(issuer.fetches()).toBe(1)
})

test('known keys survive an outage without a wait, and a token of an unknown key is answered 503', async () => {
  await using issuer = await startIssuer()
  const { verify } = verifierWith(issuer, { ...fast, timeoutMs: 30_000, retentionMs: 60_000 })
  await verify(await issuer.mint())
  issuer.answer('never')
  await after(fast.refreshMs + 50)
  const startedAt = performance.now()
  expect(await outcomeOf(verify(await issuer.mint()))).toBe('accepted')
  expect(performance.now() - startedAt).toBeLessThan(10_000)

  issuer.answer('500')
  const quick = verifierWith(issuer, fast)
  issuer.answer('well')
  await quick.verify(await issuer.mint())
  issuer.answer('500')
  await after(fast.cooldownMs + 50)
  const unknown = await issuer.mint({ header: { kid: 'key-2' } })
  expect(await outcomeOf(quick.verify(unknown))).toBe('service_unavailable')
})

test('keys that are too old are no longer used', async () => {
  await using issuer = await startIssuer()
  const { verify } = verifierWith(issuer, fast)
  await verify(await issuer.mint())
  issuer.answer('500')
  await after(fast.retentionMs + 50)
  expect(await outcomeOf(verify(await issuer.mint()))).toBe('service_unavailable')
})

test('JK-04 (RFC 9700 §2.6): a withdrawn key is dropped by the next fetch', async () => {
  await using issuer = await startIssuer()
  const { verify } = verifierWith(issuer, { ...fast, retentionMs: 60_000 })
  const token = await issuer.mint()
  await verify(token)
  issuer.published.splice(0, 1, await issuer.rotateKey())
  await after(fast.refreshMs + 50)
  await outcomeOf(verify(token))
  await expect.poll(() => outcomeOf(verify(token))).toBe('access_token_invalid')
})

test('a service that cannot reach the keys answers 503 with Retry-After by every adapter', async () => {
  await using issuer = await startIssuer()
  issuer.answer('500')
  await using services = await startServices(issuer)
  const token = await issuer.mint()
  for (const adapter of adapters) {
    const answer = await services.me(adapter, `Bearer ${token}`)
    expect(answer).toMatchObject({ status: 503, reason: 'service_unavailable' })
    expect(answer.headers.get('retry-after')).toBe('5')
    expect(answer.headers.get('www-authenticate')).toBeNull()
    // A refusal that needs no key is still answered at once.
    expect(await services.me(adapter, null)).toMatchObject({ status: 401 })
    expect(await services.me(adapter, 'Bearer nonsense')).toMatchObject({ status: 401 })
  }
})

test('the keys may have another address than the issuer', async () => {
  await using issuer = await startIssuer()
  const elsewhere = { issuer: 'https://auth.example.com', audience: issuer.audience }
  const verifier = createVerifier({
    ...elsewhere,
    jwksUrl: `${issuer.issuer}/.well-known/jwks.json`,
  })
  const token = await issuer.mint({ claims: { iss: elsewhere.issuer } })
  expect(await outcomeOf(verifier.verify(token))).toBe('accepted')
  expect(await outcomeOf(verifier.verify(await issuer.mint()))).toBe('access_token_invalid')
})

test.each([
  ['an empty issuer', { issuer: '', audience: 'a' }],
  ['an issuer that is not a URL', { issuer: 'auth.example.com', audience: 'a' }],
  ['an issuer in a file', { issuer: 'file:///keys', audience: 'a' }],
  ['an empty audience', { issuer: 'https://auth.example.com', audience: '' }],
])('a verifier with %s is not created', (_what, options) => {
  expect(() => createVerifier(options)).toThrow(TypeError)
})
