import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { isAllowedOrigin } from '../../server/http/origin.ts'
import { startApp, type TestApp } from '../support/app.ts'
import { raw } from '../support/raw-http.ts'

const appOrigin = 'https://app.example.com'
/** Of pages that no web server sends. */
const appPages = [
  'capacitor://localhost',
  'ionic://localhost',
  'tauri://localhost',
  'app://.',
  'chrome-extension://abcdefghijklmnopabcdefghijklmnop',
]
const foreign = 'https://evil.example.com'
let app: TestApp
let own: string
beforeAll(async () => {
  const probe = await startApp()
  await probe[Symbol.asyncDispose]()
  const ALLOWED_ORIGINS = [probe.url, appOrigin, ...appPages].join(',')
  app = await startApp({ ALLOWED_ORIGINS, PUBLIC_URL: probe.url })
  own = probe.url
})
afterAll(() => app[Symbol.asyncDispose]())

const json = { 'content-type': 'application/json' }
const cookie = `refresh_token=tlr1.${'A'.repeat(91)}`

/** What each procedure answers when the origin rules allow the call. */
const past: Record<string, string> = {
  login: 'invalid_credentials',
  register: 'validation_failed',
  refresh: 'refresh_token_missing',
  reauthenticate: 'refresh_token_missing',
  logout: 'ok',
}
const inputs: Record<string, string> = {
  login: '{"email":"nobody@example.com","password":"correct horse battery"}',
  register: '{"email":"nobody@example.com","password":"short"}',
  reauthenticate:
    '{"password":"correct horse battery","attemptId":"0190b5d2-0000-4000-8000-000000000001"}',
}

async function call(procedure: string, headers: Record<string, string>): Promise<string> {
  const body = inputs[procedure] ?? '{}'
  const answer = await raw(`${app.url}/auth/${procedure}`, {
    headers: { ...json, ...headers },
    body,
  })
  return answer.reason ?? (answer.status === 200 ? 'ok' : answer.text)
}

const procedures = ['login', 'register', 'refresh', 'reauthenticate', 'logout']
const origins = { none: undefined, null: 'null', foreign, own: 'own', allowed: appOrigin }
const sites = [undefined, 'same-origin', 'same-site', 'cross-site', 'none'] as const

/** The rule of docs/reference/http.md (origins), written a second time. */
function mayPass(origin: keyof typeof origins, site: string | undefined): boolean {
  if (origin === 'allowed') return true
  return origin === 'own' && (site === undefined || site === 'same-origin')
}

describe.each(procedures)(
  'CS-02 CS-03 (ASVS 3.5.1, 3.5.3): the origin rules of %s',
  (procedure) => {
    const begins = procedure === 'login' || procedure === 'register'

    test.each(Object.keys(origins) as (keyof typeof origins)[])(
      'a call with the cookie needs an allowed origin: Origin %s',
      async (origin) => {
        for (const site of sites) {
          const said = await call(procedure, { cookie, ...headersOf(origin, site) })
          const presents = procedure === 'refresh' || procedure === 'reauthenticate'
          const passed = presents ? 'refresh_token_malformed' : past[procedure]
          expect({ site, said }).toEqual({
            site,
            said: mayPass(origin, site) ? passed : 'origin_not_allowed',
          })
        }
      },
    )

    test.each(Object.keys(origins) as (keyof typeof origins)[])(
      'a call without the cookie: Origin %s',
      async (origin) => {
        for (const site of sites) {
          const passes = !begins || origin === 'none' || mayPass(origin, site)
          expect({ site, said: await call(procedure, headersOf(origin, site)) }).toEqual({
            site,
            said: passes ? past[procedure] : 'origin_not_allowed',
          })
        }
      },
    )
  },
)

function headersOf(origin: keyof typeof origins, site: string | undefined): Record<string, string> {
  const value = origin === 'own' ? own : origins[origin]
  return {
    ...(value !== undefined && { origin: value }),
    ...(site !== undefined && { 'sec-fetch-site': site }),
  }
}

test.each([
  ['a subdomain of an allowed one', 'https://x.app.example.com'],
  ['another scheme', 'http://app.example.com'],
  ['another port', 'https://app.example.com:8443'],
  ['a longer name', 'https://app.example.com.evil.example.com'],
  ['a path behind it', 'https://app.example.com/'],
  ['upper case', 'https://APP.example.com'],
  ['two of them', `${appOrigin}, ${appOrigin}`],
])('%s is not an allowed origin', async (_what, origin) => {
  expect(await call('login', { origin })).toBe('origin_not_allowed')
  expect(await call('refresh', { origin, cookie })).toBe('origin_not_allowed')
})

test.each([
  'http://localhost:5173',
  'http://127.0.0.1:5173',
  'http://[::1]:5173',
  'http://localhost',
])('a page of %s may sign in outside of production, and not in production', async (origin) => {
  expect(await call('login', { origin, 'sec-fetch-site': 'same-site' })).toBe(past.login)
  const { headers } = await raw(`${app.url}/auth/login`, {
    method: 'OPTIONS',
    headers: { origin, 'access-control-request-method': 'POST' },
  })
  expect(headers['access-control-allow-origin']).toBe(origin)
  const production = { allowedOrigins: [appOrigin], isProduction: true }
  expect(isAllowedOrigin(origin, production)).toBe(false)
})

test.each([
  'http://localhost.evil.example.com',
  'http://evil.example.com:5173',
  'https://localhost:5173',
  'http://localhost:5173/',
  'http://localhost:5173.evil.example.com',
  'http://user@localhost:5173',
  'http://127.0.0.2:5173',
])('%s is no page of this machine', async (origin) => {
  expect(await call('login', { origin })).toBe('origin_not_allowed')
})

test('a refusal says which origin to add to which variable', async () => {
  const messageFor = async (origin: string) => {
    const headers = { ...json, origin }
    const { text } = await raw(`${app.url}/auth/login`, { headers, body: inputs.login! })
    return JSON.parse(text).error.message as string
  }
  expect(await messageFor(foreign)).toBe(
    `Requests from ${foreign} are not allowed. To allow them, add ${foreign} to the service's variable ALLOWED_ORIGINS.`,
  )
  // Not repeated: no browser sends it.
  for (const origin of [
    'null',
    'https://EVIL.example.com/<script>',
    `https://${'a'.repeat(99)}.example.com`,
  ])
    expect(await messageFor(origin)).toBe(
      "Requests from this origin are not allowed. To allow them, add it to the service's variable ALLOWED_ORIGINS.",
    )
})

test('TR-04 CS-06: an escaped spelling of login is a login', async () => {
  for (const path of ['%6Cogin', 'log%69n', '%72egister'])
    expect(await call(path, { origin: foreign })).toBe('origin_not_allowed')
})

test('a refused origin is answered 403 and keeps the cookie, which may be valid', async () => {
  const headers = { ...json, cookie, origin: foreign }
  const answer = await raw(`${app.url}/auth/refresh`, { headers, body: '{}' })
  expect(answer.status).toBe(403)
  expect(answer.headers['set-cookie']).toBeUndefined()
})

test.each(appPages)('a page of an app, %s, may sign in when it is allowed', async (origin) => {
  const answer = await raw(`${app.url}/auth/login`, {
    headers: { ...json, origin, 'sec-fetch-site': 'cross-site' },
    body: inputs.login!,
  })
  expect(answer.reason).toBe('invalid_credentials')
  expect(answer.headers['access-control-allow-origin']).toBe(origin)
  const refreshed = await raw(`${app.url}/auth/refresh`, {
    headers: { ...json, origin },
    body: '{"refreshToken":"x"}',
  })
  expect(refreshed.reason).toBe('refresh_token_malformed')
})

const corsOf = (headers: object) =>
  Object.entries(headers).filter(([name]) => name.startsWith('access-control-'))

describe('CS-07 CS-08 (ASVS 3.4.2): CORS', () => {
  const paths = ['/auth/login', '/trpc/me', '/nothing', '/.well-known/jwks.json']
  const preflight = { 'access-control-request-method': 'POST' }
  test.each(paths)('%s answers an allowed origin with credentials', async (path) => {
    for (const origin of [own, appOrigin]) {
      const { headers } = await raw(app.url + path, { method: 'GET', headers: { origin } })
      expect(headers).toMatchObject({
        'access-control-allow-origin': origin,
        'access-control-allow-credentials': 'true',
        vary: expect.stringMatching(/\bOrigin\b/),
      })
    }
  })

  test.each(paths)('%s gives another origin no CORS headers', async (path) => {
    for (const origin of [foreign, 'null', `${appOrigin}.evil.example.com`, '*'])
      for (const method of ['GET', 'OPTIONS']) {
        const { headers } = await raw(app.url + path, { method, headers: { origin, ...preflight } })
        expect(corsOf(headers)).toEqual([])
        expect(headers.vary).toMatch(/\bOrigin\b/)
      }
  })

  test('without an Origin there are no CORS headers, and the answer still varies by Origin', async () => {
    const { headers } = await raw(`${app.url}/trpc/me`, { method: 'GET' })
    expect(corsOf(headers)).toEqual([])
    expect(headers.vary).toMatch(/\bOrigin\b/)
  })

  test('a preflight allows what the client of this package sends, and is not cached', async () => {
    const answer = await raw(`${app.url}/auth/refresh`, {
      method: 'OPTIONS',
      headers: { origin: appOrigin, ...preflight },
    })
    expect(answer.status).toBe(204)
    expect(answer.headers).toMatchObject({
      'access-control-allow-origin': appOrigin,
      'access-control-allow-credentials': 'true',
      'access-control-allow-methods': 'GET, POST',
      'access-control-allow-headers': expect.stringContaining('content-type'),
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    })
  })

  test('a preflight allows the headers that tracing adds to requests', async () => {
    const answer = await raw(`${app.url}/auth/login`, {
      method: 'OPTIONS',
      headers: { origin: appOrigin, ...preflight },
    })
    const allowed = String(answer.headers['access-control-allow-headers']).split(', ')
    expect(allowed).toEqual(
      expect.arrayContaining(['traceparent', 'tracestate', 'baggage', 'sentry-trace']),
    )
  })
})
