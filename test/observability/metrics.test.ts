import { expect, test } from 'vitest'
import { startApp } from '../support/app.ts'
import { freshDatabase } from '../support/database.ts'
import { auth } from '../support/http.ts'
import { hasNginx, startBareProxy } from '../support/nginx.ts'
import { raw } from '../support/raw-http.ts'
import { freePort, startServer } from '../support/server.ts'
import { makeUser, testPassword } from '../support/users.ts'

const token = 'a-metrics-token-of-24-letters'

test('metrics show refreshes by outcome, reuse, the queue, password hashing and kept access tokens', async () => {
  await using app = await startApp({ ROTATION_GRACE_SECONDS: '0' })
  const { email } = await makeUser(app.owner.url)
  const { data } = await auth(app.url, 'login', {
    email,
    password: testPassword,
    transport: 'body',
  })
  const { refreshToken, accessToken } = data
  const headers = { authorization: `Bearer ${accessToken}` }
  for (let calls = 0; calls < 3; calls += 1)
    expect((await fetch(`${app.url}/trpc/me`, { headers })).status).toBe(200)
  await auth(app.url, 'refresh', { refreshToken })
  await auth(app.url, 'refresh', { refreshToken })
  const text = await (await fetch(`${app.url}/metrics`)).text()
  expect(text).toContain('token_ledger_refreshes_total{outcome="granted"} 1')
  expect(text).toContain('token_ledger_refreshes_total{outcome="refresh_token_reused"} 1')
  expect(text).toContain('token_ledger_security_events_total{event="reuse_detected",reason=""} 1')
  expect(text).toContain('token_ledger_rotation_queue_depth 0')
  expect(text).toContain('token_ledger_transactions{state="waiting"} 0')
  expect(text).toContain('token_ledger_password_hashes{state="active"} 0')
  expect(text).toContain('token_ledger_access_token_checks_total{cache="hit"} 2')
  expect(text).toContain('token_ledger_access_token_checks_total{cache="miss"} 1')
  expect(text).toContain('token_ledger_cached_access_tokens 1')
  expect(text).toMatch(/^token_ledger_revocation_lag_seconds \d+(\.\d+)?$/m)
})

test.each([
  ['a request through a proxy', { 'x-forwarded-for': '203.0.113.9' }, 404],
  [
    'a request with another token',
    { 'x-forwarded-for': '203.0.113.9', authorization: 'Bearer no' },
    404,
  ],
  [
    'a request with METRICS_TOKEN',
    { 'x-forwarded-for': '203.0.113.9', authorization: `Bearer ${token}` },
    200,
  ],
])('%s to /metrics is answered as documented', async (_what, headers, status) => {
  await using app = await startApp({ METRICS_TOKEN: token })
  const answer = await fetch(`${app.url}/metrics`, { headers: headers as Record<string, string> })
  expect(answer.status).toBe(status)
})

const statusOf = async (url: string, headers: Record<string, string> = {}) =>
  (await raw(`${url}/metrics`, { method: 'GET', headers })).status

test.runIf(hasNginx)(
  'HT-13: behind a proxy on the same machine that adds no header, /metrics of a public service is open to METRICS_TOKEN alone',
  async () => {
    const metricsPort = String(await freePort())
    await using app = await startApp({
      PUBLIC_URL: 'https://auth.example.com',
      METRICS_TOKEN: token,
      METRICS_PORT: metricsPort,
    })
    const port = await freePort()
    await using _proxy = await startBareProxy(port, app.url)
    const outside = `http://127.0.0.1:${port}`
    for (const url of [outside, app.url])
      for (const host of ['auth.example.com', '127.0.0.1', 'localhost'])
        expect([url, host, await statusOf(url, { host })]).toEqual([url, host, 404])
    expect(await statusOf(outside, { authorization: `Bearer ${token}` })).toBe(200)
    expect(await statusOf(`http://127.0.0.1:${metricsPort}`)).toBe(200)
  },
)

test('HT-13: METRICS_PORT answers on loopback alone, /metrics alone, and to a loopback host name alone', async () => {
  const port = await freePort()
  await using app = await startApp({ METRICS_PORT: String(port) })
  const own = `http://127.0.0.1:${port}`
  const answer = await raw(`${own}/metrics`, { method: 'GET' })
  expect([answer.status, answer.text]).toEqual([200, expect.stringContaining('token_ledger_')])
  expect(await statusOf(own, { host: 'rebound.example.com' })).toBe(404)
  for (const path of ['/', '/healthz', '/.well-known/jwks.json', '/metrics/x'])
    expect((await raw(own + path, { method: 'GET' })).status).toBe(404)
  // Any other address of 127.0.0.0/8 stands for the addresses of the machine's network cards.
  await expect(raw(`http://127.0.0.2:${port}/metrics`, { method: 'GET' })).rejects.toThrow()
  // The port of the service no longer has an exception for loopback.
  expect(await statusOf(app.url)).toBe(404)
})

test('a METRICS_PORT that is taken stops the start in one line that names it', async () => {
  await using app = await startApp()
  await using owner = await freshDatabase()
  const taken = new URL(app.url).port
  await expect(startServer(owner.url, { METRICS_PORT: taken })).rejects.toThrow(
    new RegExp(
      `token-ledger: METRICS_PORT: ${taken} is in use; set another, such as METRICS_PORT=`,
    ),
  )
})
