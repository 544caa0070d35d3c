import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  createTestIssuer,
  startTestIssuer,
  type StartedIssuer,
} from '../../client/testing/index.ts'
import { createVerifier } from '../../server/verifier/index.ts'

const user = { id: crypto.randomUUID(), email: 'ada@example.com' }
let issuer: StartedIssuer

beforeAll(async () => {
  issuer = await startTestIssuer({ audience: 'https://orders.example.com' })
})
afterAll(() => issuer?.close())

test('the real verifier accepts a token of the test issuer, with the claims that the test asked for', async () => {
  const verifier = createVerifier(issuer)
  const familyId = crypto.randomUUID()
  const authenticatedAt = Math.floor(Date.now() / 1000 - 3600) * 1000
  const about = { familyId, authenticatedAt, methods: ['pwd', 'otp'] }
  expect(await verifier.verify(await issuer.signFor(user, about))).toMatchObject({
    userId: user.id,
    email: user.email,
    role: 'user',
    emailVerified: false,
    familyId,
    authenticatedAt,
    methods: ['pwd', 'otp'],
  })
  const admin = await issuer.signFor({ ...user, role: 'admin', emailVerified: true })
  expect(await verifier.verify(admin)).toMatchObject({ role: 'admin', emailVerified: true })
})

test('the real verifier refuses an expired token and one of another audience', async () => {
  const verifier = createVerifier(issuer)
  const expired = await issuer.signFor(user, { expiresInSeconds: -60 })
  await expect(verifier.verify(expired)).rejects.toMatchObject({ reason: 'access_token_expired' })
  const other = await issuer.signFor(user, { audience: 'https://stock.example.com' })
  await expect(verifier.verify(other)).rejects.toMatchObject({ reason: 'access_token_invalid' })
})

test('two test issuers do not accept the tokens of each other', async () => {
  const { audience } = issuer
  const impostor = await createTestIssuer({ issuer: issuer.issuer, audience })
  const verifier = createVerifier(issuer)
  await expect(verifier.verify(await impostor.signFor(user))).rejects.toMatchObject({
    reason: 'access_token_invalid',
  })
})
