import { expect, test } from 'vitest'
import { attackedServer } from '../support/attacked-server.ts'
import { auth, mutate, query } from '../support/http.ts'
import { signIn } from '../support/sessions.ts'
import { testPassword } from '../support/users.ts'

const attacked = attackedServer({ RATE_LIMITS: 'on' })

test('PW-10 (ASVS 6.1.1): a thief with a stolen access token cannot keep its owner from signing in', async () => {
  const { email, accessToken: stolen } = await signIn(attacked)
  const headers = {
    authorization: `Bearer ${stolen}`,
    'content-type': 'application/json',
  }
  const answers = []
  for (let i = 0; i < 30; i++)
    answers.push(await attacked.request('/trpc/sessions.revokeOthers', { headers }))
  const refused = answers.filter(({ status }) => status === 429)
  // Ten a minute are allowed; twice that if the minute changes.
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
  // The thief's calls do not count against the owner's new session.
  const { accessToken: mine } = again.data
  expect((await mutate(attacked.url, 'sessions.revokeOthers', mine)).data).toEqual({ revoked: 1 })
  expect((await query(attacked.url, 'sessions.list', stolen)).reason).toBe('access_token_revoked')
})
