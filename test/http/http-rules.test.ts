import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startApp, type TestApp } from '../support/app.ts'
import { raw, type RawAnswer } from '../support/raw-http.ts'

let app: TestApp
beforeAll(async () => {
  app = await startApp()
})
afterAll(() => app[Symbol.asyncDispose]())

const json = { 'content-type': 'application/json' }
const someToken = `tlr1.${'A'.repeat(91)}`
const own = () => ({ ...json, origin: app.url })
const post = (path: string, body: string, headers: Record<string, string> = json) =>
  raw(app.url + path, { headers, body })

/** An error of this service: the error envelope, never cached, with the hardening headers. */
function expectServiceError(answer: RawAnswer): void {
  expect(answer.status).toBeLessThan(500)
  expect(answer.headers).toMatchObject({
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'content-security-policy': expect.stringContaining("default-src 'none'"),
    'content-type': expect.stringMatching(/^application\/json/),
  })
  expect(answer.headers['set-cookie']).toBeUndefined()
  const { error } = JSON.parse(answer.text)
  expect(Object.keys(error).toSorted()).toEqual(['code', 'data', 'message'])
  expect(Object.keys(error.data)).toEqual(expect.arrayContaining(['code', 'httpStatus', 'reason']))
}

async function expectNothingWritten(): Promise<void> {
  const { ownerSql } = app.owner
  expect(await ownerSql`select from token_ledger.token_event`).toHaveLength(0)
  expect(await ownerSql`select from token_ledger.user_account`).toHaveLength(0)
}

const person = '"email":"a@example.com","password":"correct horse battery"'

describe('a body that does not match the input is validation_failed', () => {
  test.each([
    ['half a JSON', '/auth/login', `{${person}`],
    ['no JSON', '/auth/register', 'email=a@example.com'],
    ['null', '/auth/refresh', 'null'],
    ['a list', '/auth/login', `[{${person}}]`],
    ['a number', '/auth/logout', '1'],
    ['a batch', '/auth/login?batch=1', `{"0":{${person}}}`],
    ['a number for a text', '/auth/login', '{"email":1,"password":"x"}'],
    ['no password', '/auth/login', '{"email":"a@example.com"}'],
    ['a list for a text', '/auth/refresh', `{"refreshToken":["${someToken}"]}`],
    ['a text for a boolean', '/auth/logout', '{"everywhere":"yes"}'],
    ['an unknown key', '/auth/register', `{${person},"role":"admin"}`],
    ['an unknown transport', '/auth/login', `{${person},"transport":"header"}`],
    ['a device name of 101', '/auth/login', `{${person},"deviceName":"${'d'.repeat(101)}"}`],
    ['an attempt that is no UUID', '/auth/refresh', '{"attemptId":"1"}'],
    ['a token of 201 characters', '/auth/refresh', `{"refreshToken":"${'t'.repeat(201)}"}`],
    ['the key __proto__', '/auth/register', `{${person},"__proto__":{"role":"admin"}}`],
    ['the key constructor', '/auth/register', `{${person},"constructor":{"prototype":{}}}`],
    [
      'an address without a domain',
      '/auth/register',
      '{"email":"a@","password":"correct horse b"}',
    ],
    ['a password that is short', '/auth/register', '{"email":"a@example.com","password":"short"}'],
    ['half a JSON to /trpc', '/trpc/sessions.revoke', '{"familyId"'],
  ])('a body is refused: %s', async (_what, path, body) => {
    const answer = await post(path, body)
    expectServiceError(answer)
    // Under /trpc the missing access token is refused before the input is read.
    const isTrpc = path.startsWith('/trpc')
    expect(answer.reason).toBe(isTrpc ? 'access_token_missing' : 'validation_failed')
    expect(answer.status).toBe(isTrpc ? 401 : 400)
    expect(answer.text).not.toContain('correct horse')
    await expectNothingWritten()
  })
})

test('a POST without a body misses a token, not a body', async () => {
  const missing = await raw(`${app.url}/auth/refresh`, { method: 'POST' })
  expect([missing.status, missing.text]).toEqual([
    401,
    expect.stringContaining('refresh_token_missing'),
  ])
  const loggedOut = await raw(`${app.url}/auth/logout`, { method: 'POST' })
  expect([loggedOut.status, loggedOut.text]).toEqual([200, expect.stringContaining('"revoked":0')])
})

describe('CS-01 V10 (ASVS 3.5.2): a body that is not application/json is 415', () => {
  const types = [
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=a',
    'application/jsonx',
    'text/json',
    'application/octet-stream',
  ]
  const paths = ['/auth/login', '/auth/register', '/auth/refresh', '/trpc/sessions.revokeOthers']

  test.each(paths.flatMap((path) => types.map((type) => [path, type] as const)))(
    'a POST to %s with %s is 415',
    async (path, type) => {
      const answer = await post(path, `{${person}}`, { 'content-type': type })
      expectServiceError(answer)
      expect(answer).toMatchObject({ status: 415, reason: 'unsupported_media_type' })
    },
  )

  test.each(paths)('a POST to %s without a content type is 415', async (path) => {
    const answer = await post(path, `{${person}}`, {})
    expectServiceError(answer)
    expect(answer).toMatchObject({ status: 415, reason: 'unsupported_media_type' })
  })

  test('a form of 50 MB is not read to its end', async () => {
    const body = Buffer.alloc(50 * 1024 * 1024, 'a')
    const headers = { 'content-type': 'multipart/form-data; boundary=a' }
    const answer = raw(`${app.url}/trpc/sessions.revokeOthers`, { headers, body })
    // The answer, or the end of the connection while the client still sends.
    const status = await answer.then(
      ({ status: said }) => said,
      (error: NodeJS.ErrnoException) => error.code,
    )
    expect([415, 'EPIPE', 'ECONNRESET']).toContain(status)
  })
})

test.each(['/auth/login', '/trpc/sessions.revoke'])(
  'HT-04 (ASVS 15.2.2): a body of 17 KiB to %s is 413',
  async (path) => {
    const answer = await post(path, `{"email":"${'a'.repeat(17 * 1024)}"}`)
    expectServiceError(answer)
    expect(answer).toMatchObject({ status: 413, reason: 'payload_too_large' })
  },
)

test('HT-04 (ASVS 15.2.2): a header of 1 MB is 431, and the connection is closed', async () => {
  const answer = await post('/auth/refresh', '{}', { ...json, 'x-large': 'a'.repeat(1024 * 1024) })
  expectServiceError(answer)
  expect(answer).toMatchObject({ status: 431, reason: 'payload_too_large' })
  expect(answer.headers.connection).toBe('close')
})

describe('a request that calls no procedure', () => {
  test.each([
    ['GET', '/auth/login', 404, 'not_found'],
    ['GET', '/auth/logout', 404, 'not_found'],
    ['PUT', '/auth/login', 404, 'not_found'],
    ['GET', '/trpc/sessions.revokeOthers', 405, 'validation_failed'],
    ['POST', '/trpc/me', 405, 'validation_failed'],
    ['DELETE', '/trpc/me', 404, 'not_found'],
    ['POST', '/auth/nothing', 404, 'not_found'],
    ['POST', '/auth/__proto__', 404, 'not_found'],
    ['POST', '/auth/constructor', 404, 'not_found'],
    ['POST', '/auth/login,refresh', 404, 'not_found'],
    ['POST', '/auth/auth.login', 404, 'not_found'],
    ['POST', '/auth/%256cogin', 404, 'not_found'],
    ['POST', '/auth/me', 404, 'not_found'],
    ['POST', '/trpc/login', 404, 'not_found'],
    ['GET', '/trpc/nothing', 404, 'not_found'],
    ['GET', '/trpc/__proto__', 404, 'not_found'],
    ['GET', '/nothing', 404, 'not_found'],
    ['POST', `/auth/${'a'.repeat(200)}`, 404, 'not_found'],
    ['POST', '/auth/%ff', 400, 'validation_failed'],
    ['GET', '/trpc/%ZZ', 400, 'validation_failed'],
    [
      'GET',
      `/trpc/${Array.from({ length: 11 }, () => 'me').join()}?batch=1`,
      400,
      'validation_failed',
    ],
  ])('%s %s is %i %s', async (method, path, status, reason) => {
    const sent = method === 'POST' ? { headers: json, body: '{}' } : {}
    const answer = await raw(app.url + path, { method, ...sent })
    expectServiceError(answer)
    expect(answer).toMatchObject({ status, reason })
  })

  test('HEAD does not cause an internal error', async () => {
    const answer = await raw(`${app.url}/trpc/me`, { method: 'HEAD' })
    expect(answer.status).toBe(404)
  })
})

describe('TR-01: /auth is never batched and never streamed', () => {
  test('?batch=1 changes nothing', async () => {
    const answer = await post('/auth/refresh?batch=1', '{}')
    expect(answer).toMatchObject({ status: 401, reason: 'refresh_token_missing' })
  })

  test('asking for a stream changes nothing', async () => {
    const headers = { ...json, accept: 'application/jsonl', 'trpc-accept': 'application/jsonl' }
    const answer = await post('/auth/refresh', '{}', headers)
    expectServiceError(answer)
    expect(answer).toMatchObject({ status: 401, reason: 'refresh_token_missing' })
  })
})

describe('CK-04 V24 (RFC 6750 §2): a request may carry one credential', () => {
  test.each(['/auth/refresh', '/auth/logout'])(
    'a cookie and a token in the body to %s are refused',
    async (path) => {
      const headers = { ...own(), cookie: `refresh_token=${someToken}` }
      const answer = await post(path, `{"refreshToken":"${someToken}"}`, headers)
      expectServiceError(answer)
      expect(answer).toMatchObject({ status: 400, reason: 'validation_failed' })
    },
  )
})
