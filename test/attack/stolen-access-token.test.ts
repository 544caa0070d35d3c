import { expect, test } from 'vitest'
import { attackedServer } from '../support/attacked-server.ts'
import { auth, mutate, query } from '../support/http.ts'
import { signIn } from '../support/sessions.ts'
import { testPassword } from '../support/users.ts'

const attacked = attackedServer({ RATE_LIMITS: 'on' })

test('PW-10 (ASVS 6.1.1): whoever has an access token of mine cannot keep me from signing in', async () => {
  const { email, accessToken: stolen } = await signIn(attacked)
  const headers = {
    authorization: `Bearer ${stolen}`,
    'content-type': 'application/json',
  }
  const answers = []
  for (let i = 0; i < 30; i++)
    answers.push(await attacked.request('/trpc/sessions.revokeOthers', { headers }))
  const refused = answers.filter(({ status }) => status === 429)
  // Ten a minute; twice that where the minute was turned.
  expect(refused.length).toBeGreaterThanOrEqual(10)
  for (const one of refused) {
    expect(one.reason).toBe('too_many_attempts')
    expect(Number(one.headers['retry-after'])).toBeGreaterThan(0)
  }
  const again = await auth(attacked.url, 'login', {
    email,
    password: testPassword,
    transport: 'body',
  })
  expect(again.status).toBe(200)
  // And I am not held up by what was counted of the thief.
  const { accessToken: mine } = again.data
  expect((await mutate(attacked.url, 'sessions.revokeOthers', mine)).data).toEqual({ revoked: 1 })
  expect((await query(attacked.url, 'sessions.list', stolen)).reason).toBe('access_token_revoked')
})
