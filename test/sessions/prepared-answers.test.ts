import { decodeJwt } from 'jose'
import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { createAccessTokens, type Subject } from '../../server/tokens/access-token.ts'
import { createRotation } from '../../server/sessions/rotation.ts'
import type { SigningKeys } from '../../server/tokens/signing-keys.ts'
import { startLedger, testCaller } from '../support/ledger.ts'

test('the access token of a granted refresh is signed while the database writes, and none for a refused one', async () => {
  await using ledger = await startLedger({ graceMs: 0 })
  const signed: Subject[] = []
  const { rotate } = createRotation(ledger.deps, {
    accessTokens: { signAhead: (session) => signed.push(session) },
  })
  const first = await ledger.start(await ledger.makeUser())
  const request = { transport: 'body', attemptId: null, caller: testCaller } as const

  const second = await rotate({ ...request, token: first.token })
  await expect.poll(() => signed).toHaveLength(1)
  expect(signed[0], 'the very session').toBe(second)

  for (const { token } of [first, second])
    await expect(rotate({ ...request, token })).rejects.toMatchObject({
      reason: 'refresh_token_reused',
    })
  expect(signed).toHaveLength(1)
})

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const settings = { issuer: 'http://a.test', audience: 'http://a.test', lifetimeMs: 900_000 }
const user = { id: randomUUID(), email: 'ada@example.com', role: 'user', disabled: false } as const
const session = {
  familyId: randomUUID(),
  user,
  signedInAt: Date.now(),
  authentication: null,
  refreshRemainingMs: 604_800_000,
}

test('an access token that was signed ahead is the one in the answer', () => {
  const keys = {
    now: Date.now,
    current: () => ({ jwsHeader: 'e30', privateKey }),
  } as unknown as SigningKeys
  const tokens = createAccessTokens(keys, settings)
  tokens.signAhead(session)
  const given = tokens.forSession(session)
  expect(tokens.forSession(session)).toBe(given)
  expect(decodeJwt(given.accessToken)).toMatchObject({ sub: user.id, sid: session.familyId })
  const other = { ...session }
  expect(tokens.forSession(other).accessToken, 'another session has its own').not.toBe(
    given.accessToken,
  )
})

test('an access token that could not be signed ahead fails its own request alone', () => {
  let isBroken = true
  const keys = {
    now: Date.now,
    current() {
      if (isBroken) throw new Error('no key signs yet')
      return { jwsHeader: 'e30', privateKey }
    },
  } as unknown as SigningKeys
  const tokens = createAccessTokens(keys, settings)
  tokens.signAhead(session)
  expect(() => tokens.forSession(session)).toThrow('no key signs yet')
  isBroken = false
  expect(tokens.forSession(session).expiresIn).toBe(900)
})
