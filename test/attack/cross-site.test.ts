import { describe, expect, test } from 'vitest'
import { attackedServer } from '../support/attacked-server.ts'
import { procedures } from '../support/procedures.ts'
import { kindsOf, signIn } from '../support/sessions.ts'
import { makeUser, testPassword } from '../support/users.ts'

const allowed = 'https://app.example.com'
const publicUrl = 'http://127.0.0.1:4999'
const attacked = attackedServer({
  PUBLIC_URL: publicUrl,
  ALLOWED_ORIGINS: `${publicUrl},${allowed}`,
})
const json = 'application/json'
const evil = 'https://evil.example.com'

/** A session whose cookie is valid, so that an attack could use it. */
async function victim(): Promise<{ cookie: string; familyId: string }> {
  const { email } = await makeUser(attacked.owner.url)
  const answer = await attacked.request('/auth/login', {
    headers: { origin: publicUrl },
    json: { email, password: testPassword },
  })
  const cookie = answer.headers['set-cookie']![0]!.split(';')[0]!
  return { cookie, familyId: answer.body.result.data.familyId }
}

describe('CS-01 V10 V11 (ASVS 3.5.2): a body that is not application/json is answered 415, and nothing changes', () => {
  const types: (string | string[] | undefined)[] = [
    undefined,
    'text/plain',
    'text/plain; application/json',
    'text/plain;charset=application/json',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=a',
    'multipart/form-data',
    'application/octet-stream',
    'application/jsonx',
    'application/json-patch+json',
    'application/trpc+json',
    'application/json, text/plain',
    'text/plain, application/json',
    'application/json/',
    'text/json',
    'canary/canary',
    'json',
    'application',
    '*/*',
  ]
  const body = Buffer.from('{}')
  const paths = ['/auth/refresh', '/auth/logout', '/trpc/sessions.revokeOthers']

  test.each(paths)('a POST to %s with each other content type is refused', async (path) => {
    const { cookie } = await victim()
    const { accessToken } = await signIn(attacked)
    await attacked.unchanged(async () => {
      for (const type of types) {
        const answer = await attacked.request(path, {
          headers: {
            origin: publicUrl,
            cookie,
            authorization: `Bearer ${accessToken}`,
            ...(type !== undefined && { 'content-type': type }),
          },
          body,
        })
        const said = [type, answer.status, answer.reason, answer.headers['set-cookie']]
        expect(said).toEqual([type, 415, 'unsupported_media_type', undefined])
        // The answer does not repeat what the caller sent (HT-07).
        expect(answer.text).not.toContain('canary')
      }
    })
  })

  test('a request with two content types is refused', async () => {
    const { cookie } = await victim()
    await attacked.unchanged(async () => {
      for (const lines of [
        ['text/plain', json],
        [json, 'text/plain'],
      ]) {
        const { statuses } = await attacked.raw(
          [
            'POST /auth/refresh HTTP/1.1',
            'host: 127.0.0.1',
            `origin: ${evil}`,
            `cookie: ${cookie}`,
            ...lines.map((line) => `content-type: ${line}`),
            'content-length: 2',
            'connection: close',
            '',
            '{}',
          ].join('\r\n'),
        )
        expect(statuses).toHaveLength(1)
        expect([400, 403, 415]).toContain(statuses[0])
      }
    })
  })

  test.each([json, 'APPLICATION/JSON', `${json}; charset=utf-8`, `${json};charset="utf-8"`])(
    'control: %s is accepted as JSON',
    async (type) => {
      const { cookie } = await victim()
      const headers = { origin: publicUrl, cookie, 'content-type': type }
      const answer = await attacked.request('/auth/refresh', { headers, body: '{}' })
      expect(answer.status).toBe(200)
    },
  )
})

describe('CS-02 CS-03 (ASVS 3.5.1, 3.5.3): a valid cookie is refused for every foreign Origin, Sec-Fetch-Site and content type', () => {
  const origins = [
    undefined,
    'null',
    evil,
    `${allowed}.evil.example.com`,
    `${allowed}:444`,
    'http://app.example.com',
    'https://APP.example.com',
    `${allowed}.`,
    `${allowed}/`,
    'https://xn--pp-1ia.example.com',
    `${allowed} ${evil}`,
    '*',
    '',
  ]
  const sites = [undefined, 'same-origin', 'same-site', 'cross-site', 'none', 'Same-Origin', 'x']
  const types = [json, 'text/plain', undefined]

  test.each(['refresh', 'logout'])('%s refuses each foreign combination', async (procedure) => {
    const { cookie } = await victim()
    await attacked.unchanged(async () => {
      for (const origin of origins)
        for (const site of sites)
          for (const type of types) {
            const answer = await attacked.request(`/auth/${procedure}`, {
              headers: {
                cookie,
                ...(origin !== undefined && { origin }),
                ...(site !== undefined && { 'sec-fetch-site': site }),
                ...(type !== undefined && { 'content-type': type }),
              },
              ...(type !== undefined && { body: '{}' }),
            })
            const how = { origin, site, type, status: answer.status }
            // Without a body there is no content type to refuse: the Origin decides.
            expect(how).toEqual({ ...how, status: type === 'text/plain' ? 415 : 403 })
            expect(answer.headers['set-cookie']).toBeUndefined()
            expect(answer.headers['access-control-allow-origin']).toBeUndefined()
          }
      // The service's own Origin with another Sec-Fetch-Site: no browser sends both.
      for (const site of sites.slice(2)) {
        const headers = { cookie, origin: publicUrl, 'sec-fetch-site': site! }
        const answer = await attacked.request(`/auth/${procedure}`, { headers, json: {} })
        expect([site, answer.reason]).toEqual([site, 'origin_not_allowed'])
      }
    })
  })

  test('a request with two Origin headers is not allowed, in either order', async () => {
    const { cookie } = await victim()
    await attacked.unchanged(async () => {
      for (const both of [
        [publicUrl, evil],
        [evil, publicUrl],
      ]) {
        const { statuses } = await attacked.raw(
          [
            'POST /auth/logout HTTP/1.1',
            'host: 127.0.0.1',
            `cookie: ${cookie}`,
            ...both.map((origin) => `origin: ${origin}`),
            `content-type: ${json}`,
            'content-length: 2',
            'connection: close',
            '',
            '{}',
          ].join('\r\n'),
        )
        expect([both, statuses]).toEqual([both, [both[0] === evil ? 403 : expect.anything()]])
      }
    })
  })

  test.each([publicUrl, allowed])(
    'control: the same cookie is accepted from %s',
    async (origin) => {
      const { cookie, familyId } = await victim()
      const answer = await attacked.request('/auth/refresh', {
        headers: { cookie, origin },
        json: {},
      })
      expect(answer.status).toBe(200)
      expect(await kindsOf(attacked, familyId)).toEqual(['issued', 'rotated'])
    },
  )
})

test('CS-05 V9 (ASVS 3.5.3): a bad bearer token does not make the service accept the cookie', async () => {
  const { cookie } = await victim()
  const { accessToken } = await signIn(attacked)
  await attacked.unchanged(async () => {
    for (const authorization of ['Bearer a.b.c', 'Bearer', 'Basic eA==', `Bearer ${accessToken}`])
      for (const procedure of ['login', 'register', 'refresh', 'logout']) {
        const answer = await attacked.request(`/auth/${procedure}`, {
          headers: { cookie, origin: evil, authorization },
          json: {},
        })
        expect([procedure, answer.reason]).toEqual([procedure, 'origin_not_allowed'])
      }
    // /trpc ignores the cookie.
    const answer = await attacked.request('/trpc/sessions.revokeOthers', {
      headers: { cookie, origin: publicUrl },
      json: {},
    })
    expect(answer.reason).toBe('access_token_missing')
  })
})

test('CS-06 (ASVS 3.5.1): a foreign page cannot sign a user in, even with the right password', async () => {
  const { email } = await makeUser(attacked.owner.url)
  await attacked.unchanged(async () => {
    for (const origin of [evil, 'null', `${publicUrl}.evil.example.com`])
      for (const [procedure, input] of [
        ['login', { email, password: testPassword }],
        ['register', { email: 'csrf@example.com', password: testPassword }],
      ] as const) {
        const answer = await attacked.request(`/auth/${procedure}`, {
          headers: { origin },
          json: input,
        })
        expect([answer.status, answer.headers['set-cookie']]).toEqual([403, undefined])
      }
  })
})

describe('CS-09 (ASVS 3.5.3): methods that a link or an image can send change nothing', () => {
  const mutations = procedures.filter(({ type }) => type === 'mutation').map(({ url }) => url)

  test.each(mutations)('no method but POST calls %s', async (url) => {
    const { cookie } = await victim()
    const { accessToken, refreshToken } = await signIn(attacked)
    const authorization = `Bearer ${accessToken}`
    const override = { 'x-http-method-override': 'POST', 'x-method-override': 'POST' }
    const search = `?_method=POST&input=${encodeURIComponent(JSON.stringify({ refreshToken }))}`
    await attacked.unchanged(async () => {
      for (const method of ['GET', 'HEAD', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE']) {
        const answer = await attacked.request(url + search, {
          method,
          headers: { origin: publicUrl, cookie, authorization, ...override },
        })
        const wanted = method === 'OPTIONS' ? [204, 400] : [404, 405]
        expect(wanted).toContain(answer.status)
        expect(answer.headers['set-cookie']).toBeUndefined()
      }
    })
  })
})

test('CS-11 V15 (ASVS 4.4.2): the service opens no WebSocket, and asking for one changes nothing', async () => {
  for (const path of ['/trpc', '/trpc/me?connectionParams=1', '/auth/refresh', '/']) {
    const { statuses } = await attacked.raw(
      [
        `GET ${path} HTTP/1.1`,
        'host: 127.0.0.1',
        'connection: close, Upgrade',
        'upgrade: websocket',
        'sec-websocket-version: 13',
        'sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==',
        '',
        '',
      ].join('\r\n'),
    )
    expect(statuses).toEqual([path.startsWith('/trpc/') ? 401 : 404])
  }
})
