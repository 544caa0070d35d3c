import { describe, expect, test } from 'vitest'
import { attackedServer } from '../support/attacked-server.ts'
import { kindsOf, signIn, signInWithCookie } from '../support/sessions.ts'
import { testPassword } from '../support/users.ts'

const attacked = attackedServer()

describe('TR-01 (tRPC streams drop Set-Cookie): /auth is neither batched nor streamed', () => {
  const streams: [string, Record<string, string>][] = [
    ['Accept', { accept: 'application/jsonl' }],
    ['tRPC-Accept', { 'trpc-accept': 'application/jsonl' }],
    ['both', { accept: 'text/event-stream', 'trpc-accept': 'application/jsonl' }],
  ]

  test.each(streams)(
    'a refresh that asks for a stream by %s gets the usual answer with its cookie',
    async (_header, accept) => {
      const { cookie, familyId } = await signInWithCookie(attacked)
      const answer = await attacked.request('/auth/refresh?batch=1', {
        headers: { origin: attacked.url, cookie, ...accept },
        json: {},
      })
      expect(answer.status).toBe(200)
      expect(answer.headers['content-type']).toBe('application/json; charset=utf-8')
      expect(answer.headers['set-cookie']?.[0]).toMatch(/^\d+-refresh_token=tlr1\./)
      expect(await kindsOf(attacked, familyId)).toEqual(['issued', 'rotated'])
    },
  )

  test.each(['refresh', 'logout'])('a batch with one %s spends no token', async (procedure) => {
    const { cookie } = await signInWithCookie(attacked)
    await attacked.unchanged(async () => {
      for (const json of [{ 0: {} }, { 0: {}, 1: {} }, [{}]]) {
        const headers = { origin: attacked.url, cookie }
        const path = `/auth/${procedure}?batch=1`
        expect((await attacked.request(path, { headers, json })).reason).toBe('validation_failed')
      }
      const both = await attacked.request(`/auth/${procedure},${procedure}?batch=1`, {
        headers: { origin: attacked.url, cookie },
        json: { 0: {}, 1: {} },
      })
      expect(both.reason).toBe('not_found')
    })
  })
})

describe('TR-02 V14: one request holds at most ten calls', () => {
  test('ten calls are answered separately, and a batch of eleven is refused as a whole', async () => {
    const { accessToken } = await signIn(attacked)
    const headers = { authorization: `Bearer ${accessToken}` }
    const get = (count: number) => {
      const path = Array.from({ length: count }, () => 'me').join()
      return attacked.request(`/trpc/${path}?batch=1`, { method: 'GET', headers })
    }
    const ten = await get(10)
    expect([ten.status, ten.body.length]).toEqual([200, 10])
    expect(await get(11)).toMatchObject({ status: 400, reason: 'validation_failed' })
  })

  test.each([
    ['400 sign-ins', Array.from({ length: 400 }, () => 'login').join()],
    ['4,000 commas', ','.repeat(4_000)],
    ['4,000 escaped commas', '%2c'.repeat(4_000)],
    ['commas alone', ',,,,,,,,'],
    ['ten names that are none', Array.from({ length: 10 }, () => 'x').join()],
  ])('%s cost little and get a short answer', async (_what, path) => {
    const { email } = await signInWithCookie(attacked)
    const input = { email, password: testPassword }
    await attacked.unchanged(async () => {
      for (const mount of ['auth', 'trpc']) {
        const answer = await attacked.request(`/${mount}/${path}?batch=1`, {
          headers: { origin: attacked.url },
          json: Object.fromEntries(Array.from({ length: 50 }, (_, i) => [i, input])),
        })
        expect([400, 401, 404, 413]).toContain(answer.status)
        expect(answer.text.length).toBeLessThan(4_096)
      }
    })
  })

  test('an unknown name in front of the others gives no access to them (tRPC #7153)', async () => {
    await attacked.unchanged(async () => {
      const answer = await attacked.request('/trpc/nothing,sessions.revokeOthers?batch=1', {
        json: { 0: null, 1: null },
      })
      expect(answer.text).toContain('access_token_missing')
      expect(answer.text).not.toContain('result')
    })
  })
})

test('TR-07: in a batch of which a part is refused, each call has an answer of its own', async () => {
  const { accessToken } = await signIn(attacked)
  const answer = await attacked.request('/trpc/me,admin.stats?batch=1&input={}', {
    method: 'GET',
    headers: { authorization: `Bearer ${accessToken}` },
  })
  expect(answer.status).toBe(207)
  const [me, stats] = answer.body
  expect(me.result.data.user.email).toMatch(/@/)
  expect(stats.error.data.reason).toBe('role_required')
})

describe('TR-04: another spelling of a path is the same call or no call', () => {
  test.each([
    ['%6Cogin', 401, 'invalid_credentials'],
    ['log%69n', 401, 'invalid_credentials'],
    ['%256cogin', 404, 'not_found'],
    ['%25%36%63ogin', 404, 'not_found'],
    ['Login', 404, 'not_found'],
    ['login/', 404, 'not_found'],
    ['/login', 404, 'not_found'],
    ['./login', 404, 'not_found'],
    ['x/../login', 404, 'not_found'],
    ['..%2fauth%2flogin', 404, 'not_found'],
    ['login%00', 404, 'not_found'],
    ['login;x', 404, 'not_found'],
    ['login.', 404, 'not_found'],
    ['__proto__', 404, 'not_found'],
    ['%5F%5Fproto%5F%5F', 404, 'not_found'],
    ['constructor', 404, 'not_found'],
    ['toString', 404, 'not_found'],
    ['_def', 404, 'not_found'],
    ['createCaller', 404, 'not_found'],
  ])('/auth/%s', async (path, status, reason) => {
    const input = { email: 'nobody@example.com', password: 'words that are long enough' }
    const { hostname, port } = new URL(attacked.url)
    const body = JSON.stringify(input)
    await attacked.unchanged(async () => {
      // Sent as raw bytes, because a URL object would normalise the path.
      const { statuses, text } = await attacked.raw(
        [
          `POST /auth/${path} HTTP/1.1`,
          `host: ${hostname}:${port}`,
          'content-type: application/json',
          `content-length: ${body.length}`,
          'connection: close',
          '',
          body,
        ].join('\r\n'),
      )
      expect([statuses, text.includes(`"reason":"${reason}"`)]).toEqual([[status], true])
    })
  })
})
