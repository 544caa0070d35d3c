import { expect, test } from 'vitest'
import { startApp } from '../support/app.ts'
import { auth } from '../support/http.ts'
import { makeUser, testPassword } from '../support/users.ts'

const token = 'a-metrics-token-of-24-letters'

test('refreshes by outcome, reuse, the queue and password hashing can be watched', async () => {
  await using app = await startApp({ ROTATION_GRACE_SECONDS: '0' })
  const { email } = await makeUser(app.owner.url)
  const { data } = await auth(app.url, 'login', {
    email,
    password: testPassword,
    transport: 'body',
  })
  const { refreshToken } = data
  await auth(app.url, 'refresh', { refreshToken })
  await auth(app.url, 'refresh', { refreshToken })
  const text = await (await fetch(`${app.url}/metrics`)).text()
  expect(text).toContain('token_ledger_refreshes_total{outcome="granted"} 1')
  expect(text).toContain('token_ledger_refreshes_total{outcome="refresh_token_reused"} 1')
  expect(text).toContain('token_ledger_security_events_total{event="reuse_detected",reason=""} 1')
  expect(text).toContain('token_ledger_rotation_queue_depth 0')
  expect(text).toContain('token_ledger_transactions{state="waiting"} 0')
  expect(text).toContain('token_ledger_password_hashes{state="active"} 0')
  expect(text).toMatch(/^token_ledger_revocation_lag_seconds \d+(\.\d+)?$/m)
})

test.each([
  ['who comes through a proxy', { 'x-forwarded-for': '203.0.113.9' }, 404],
  [
    'who brings another token',
    { 'x-forwarded-for': '203.0.113.9', authorization: 'Bearer no' },
    404,
  ],
  [
    'who brings METRICS_TOKEN',
    { 'x-forwarded-for': '203.0.113.9', authorization: `Bearer ${token}` },
    200,
  ],
])('%s is answered %o %i', async (_who, headers, status) => {
  await using app = await startApp({ METRICS_TOKEN: token })
  const answer = await fetch(`${app.url}/metrics`, { headers: headers as Record<string, string> })
  expect(answer.status).toBe(status)
})
