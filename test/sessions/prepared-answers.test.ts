import { decodeJwt } from 'jose'
import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { createAccessTokens } from '../../server/tokens/access-token.ts'
import { createRotation } from '../../server/sessions/rotation.ts'
import type { LiveSession } from '../../server/sessions/session.ts'
import type { SigningKeys } from '../../server/tokens/signing-keys.ts'
import { startLedger, testCaller } from '../support/ledger.ts'

test('the answer of a granted refresh is prepared while the database writes; a refused one is not', async () => {
  await using ledger = await startLedger({ graceMs: 0 })
  const prepared: LiveSession[] = []
  const { rotate } = createRotation(ledger.deps, {
    whileWriting: (sessions) => prepared.push(...sessions),
  })
  const first = await ledger.start(await ledger.makeUser())
  const request = { transport: 'body', attemptId: null, caller: testCaller } as const

  const second = await rotate({ ...request, token: first.token })
  await expect.poll(() => prepared).toHaveLength(1)
  expect(prepared[0], 'the very session').toBe(second)

  for (const { token } of [first, second])
    await expect(rotate({ ...request, token })).rejects.toMatchObject({
      reason: 'refresh_token_reused',
    })
  expect(prepared).toHaveLength(1)
})

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const settings = { issuer: 'http://a.test', audience: 'http://a.test', lifetimeMs: 900_000 }
const user = { id: randomUUID(), email: 'ada@example.com', role: 'user', disabled: false } as const
const session = {
  familyId: randomUUID(),
  user,
  signedInAt: Date.now(),
  refreshRemainingMs: 604_800_000,
}

test('an access token that was signed ahead is the one in the answer', () => {
  const keys = { current: () => ({ jwsHeader: 'e30', privateKey }) } as unknown as SigningKeys
  const tokens = createAccessTokens(keys, settings)
  tokens.prepare(session)
  const given = tokens.of(session)
  expect(tokens.of(session)).toBe(given)
  expect(decodeJwt(given.accessToken)).toMatchObject({ sub: user.id, sid: session.familyId })
  const other = { ...session }
  expect(tokens.of(other).accessToken, 'another session has its own').not.toBe(given.accessToken)
})

test('an access token that could not be signed ahead fails its own request alone', () => {
  let isBroken = true
  const keys = {
    current() {
      if (isBroken) throw new Error('no key signs yet')
      return { jwsHeader: 'e30', privateKey }
    },
  } as unknown as SigningKeys
  const tokens = createAccessTokens(keys, settings)
  tokens.prepare(session)
  expect(() => tokens.of(session)).toThrow('no key signs yet')
  isBroken = false
  expect(tokens.of(session).expiresIn).toBe(900)
})
