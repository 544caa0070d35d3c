import { describe, expect, test } from 'vitest'
import { attackedServer, type AttackAnswer } from '../support/attacked-server.ts'
import { auth, refreshCookieIn } from '../support/http.ts'
import { signIn, signInWithCookie } from '../support/sessions.ts'
import { makeUser, testPassword } from '../support/users.ts'

const publicUrl = 'https://auth.example.com'
const plain = attackedServer({ PUBLIC_URL: 'http://127.0.0.1' })
const secure = attackedServer({ PUBLIC_URL: publicUrl })
const hostOnly = attackedServer({ PUBLIC_URL: publicUrl, COOKIE_PREFIX: 'host' })

const services = [
  {
    scheme: 'http',
    name: '80-refresh_token',
    path: '/auth',
    attacked: plain,
    origin: () => plain.url,
  },
  {
    scheme: 'https',
    name: '__Secure-refresh_token',
    path: '/auth',
    attacked: secure,
    origin: () => publicUrl,
  },
  {
    scheme: 'https with COOKIE_PREFIX=host',
    name: '__Host-refresh_token',
    path: '/',
    attacked: hostOnly,
    origin: () => publicUrl,
  },
]
const forged = `tlr1.${'A'.repeat(91)}`
const setCookiesOf = (answer: AttackAnswer) => answer.headers['set-cookie'] ?? []

describe.each(services)('over $scheme', ({ scheme, name, path, attacked, origin }) => {
  const isSecure = scheme !== 'http'
  const call = (
    procedure: string,
    { cookie, json = {} }: { cookie?: string | string[]; json?: unknown },
  ) =>
    attacked.request(`/auth/${procedure}`, {
      json,
      headers: { origin: origin(), ...(cookie !== undefined && { cookie }) },
    })

  async function newSession(): Promise<{ answer: AttackAnswer; token: string; email: string }> {
    const { email } = await makeUser(attacked.owner.url)
    const answer = await call('login', { json: { email, password: testPassword } })
    const token = new RegExp(`^${name}=([^;]+)`).exec(setCookiesOf(answer)[0] ?? '')?.[1] ?? ''
    return { answer, token, email }
  }

  test('CK-01 CK-02 CK-06 (ASVS 3.3.1–3.3.5): every Set-Cookie of every endpoint, set or cleared, has the same attributes and fits into 4 KiB', async () => {
    const { answer: login, token } = await newSession()
    const set = [
      login,
      await call('register', { json: { email: `${name}@example.com`, password: testPassword } }),
      await call('refresh', { cookie: `${name}=${token}` }),
    ]
    const cleared = [
      await call('refresh', { cookie: `${name}=${forged}` }),
      await call('logout', { cookie: `${name}=${forged}` }),
      await call('logout', { cookie: `${name}=${token}` }),
      await call('logout', {}),
      // The family is over by now.
      await call('refresh', { cookie: `${name}=${token}` }),
    ]
    const attributes = ['HttpOnly', `Path=${path}`, 'SameSite=Strict']
    if (isSecure) attributes.push('Secure')
    for (const answer of [...set, ...cleared]) {
      const [line, ...more] = setCookiesOf(answer)
      expect(more).toEqual([])
      const [pair = '', ...rest] = line!.split('; ')
      const isClearing = cleared.includes(answer)
      expect(pair).toMatch(isClearing ? `${name}=` : new RegExp(`^${name}=tlr1\\.[\\w-]{91}$`))
      const lifetime = rest.filter((part) => /^(Max-Age|Expires)=/.test(part))
      expect(rest.filter((part) => !lifetime.includes(part)).toSorted()).toEqual(attributes)
      const maxAge = Number(lifetime[0]?.slice('Max-Age='.length))
      if (isClearing) expect(maxAge).toBe(0)
      else {
        // The remaining lifetime of the token, in whole seconds.
        const left = (Date.parse(answer.body.result.data.refreshExpiresAt) - Date.now()) / 1000
        expect(Math.abs(maxAge - left)).toBeLessThan(60)
      }
      expect(Buffer.byteLength(line!)).toBeLessThan(4096)
    }
  })

  test('CK-03 (ASVS 3.3.4): a cookie family never has its token in a body, and a body family never in a cookie', async () => {
    const { answer, token, email } = await newSession()
    const refreshed = await call('refresh', { cookie: `${name}=${token}` })
    // Asking for the body transport does not turn a cookie into a token that a script can read.
    const asked = await call('refresh', {
      cookie: `${name}=${token}`,
      json: { transport: 'body' },
    })
    const listed = await attacked.request('/trpc/sessions.list', {
      method: 'GET',
      headers: {
        authorization: `Bearer ${answer.body.result.data.accessToken}`,
        cookie: `${name}=${token}`,
      },
    })
    expect([answer, refreshed, asked, listed].map(({ status }) => status)).toEqual([
      200, 200, 400, 200,
    ])
    for (const { text } of [answer, refreshed, asked, listed]) expect(text).not.toContain('tlr1.')
    expect(setCookiesOf(asked)).toEqual([])

    const inBody = await call('login', {
      json: { email, password: testPassword, transport: 'body' },
    })
    const { refreshToken } = inBody.body.result.data
    const next = await call('refresh', { json: { refreshToken } })
    expect(next.body.result.data.refreshToken).toMatch(/^tlr1\./)
    expect([...setCookiesOf(inBody), ...setCookiesOf(next)]).toEqual([])
  })

  test('CK-04 V24 (RFC 6265 §4.2.2): of several refresh cookies the authentic one counts, in either order and in one header or two', async () => {
    const orders: ((token: string) => string | string[])[] = [
      (token) => `${name}=${token}; ${name}=${forged}`,
      (token) => `${name}=${forged}; ${name}=${token}`,
      (token) => `${name}=${token}; ${name}=${token}`,
      (token) => `${name}=;${name}=${token};${name}=`,
      (token) => `a=b;${name}=${forged};c=d;\t${name}=${token}`,
      (token) => [`${name}=${token}`, `${name}=${forged}`],
      (token) => [`${name}=${forged}`, `${name}=${token}`],
    ]
    for (const [i, order] of orders.entries()) {
      const { answer, token } = await newSession()
      const refreshed = await call('refresh', { cookie: order(token) })
      expect([i, refreshed.status, refreshed.body.result.data.familyId]).toEqual([
        i,
        200,
        answer.body.result.data.familyId,
      ])
      const [, next = ''] = /refresh_token=([^;]+)/.exec(setCookiesOf(refreshed).at(-1)!) ?? []
      const over = await call('logout', { cookie: order(next) })
      expect([i, over.status, over.body.result.data.revoked]).toEqual([i, 200, 1])
    }
    // A foreign Origin is refused first, whatever the number of cookies.
    const { token } = await newSession()
    await attacked.unchanged(async () => {
      for (const foreign of [{}, { origin: 'https://evil.example' }]) {
        const headers = { ...foreign, cookie: orders[0]!(token) }
        const answer = await attacked.request('/auth/refresh', { json: {}, headers })
        expect([foreign, answer.reason]).toEqual([foreign, 'origin_not_allowed'])
      }
    })
  })

  test('CK-08 (ASVS 3.3.3): a second cookie, with a session of an attacker or with junk, refuses neither login nor logout', async () => {
    const own = await newSession()
    const foreign = await newSession()
    const inBody = await call('login', {
      json: { email: foreign.email, password: testPassword, transport: 'body' },
    })
    const ofBody = inBody.body.result.data.refreshToken
    for (const tossed of [foreign.token, ofBody, forged, '', 'x'.repeat(3_000)]) {
      const both = `${name}=${tossed}; ${name}=${own.token}`
      const login = await call('login', {
        cookie: both,
        json: { email: own.email, password: testPassword },
      })
      expect([tossed, login.status]).toEqual([tossed, 200])
      const [, token = ''] = /refresh_token=([^;]+)/.exec(setCookiesOf(login).at(-1)!) ?? []
      const logout = await call('logout', { cookie: `${name}=${tossed}; ${name}=${token}` })
      expect([tossed, logout.status]).toEqual([tossed, 200])
      // The user's own session is over, whatever else was sent.
      const again = await call('refresh', { cookie: `${name}=${token}` })
      expect([tossed, again.reason]).toEqual([tossed, 'session_revoked'])
    }
  })

  test('CK-08: a client that names its session continues it beside the cookie of an attacker, and none else', async () => {
    const own = await newSession()
    const foreign = await newSession()
    const familyOf = (answer: AttackAnswer) => answer.body.result.data.familyId
    const expected = { json: { familyId: familyOf(own.answer) } }
    let { token } = own
    for (const order of [
      () => `${name}=${token}; ${name}=${foreign.token}`,
      () => `${name}=${foreign.token}; ${name}=${token}`,
    ]) {
      const refreshed = await call('refresh', { cookie: order(), ...expected })
      expect([refreshed.status, familyOf(refreshed)]).toEqual([200, familyOf(own.answer)])
      token = /refresh_token=([^;]+)/.exec(setCookiesOf(refreshed).at(-1)!)![1]!
    }
    await attacked.unchanged(async () => {
      // Another session is neither continued nor signed out: it may be of another page.
      const only = await call('refresh', { cookie: `${name}=${foreign.token}`, ...expected })
      expect([only.status, only.reason]).toEqual([401, 'refresh_token_missing'])
      expect(setCookiesOf(only)).toEqual([])
      // Two sessions and no word which is meant: neither is taken, and the next sign-in begins without them.
      const unnamed = await call('refresh', {
        cookie: `${name}=${token}; ${name}=${foreign.token}`,
      })
      expect([unnamed.status, unnamed.reason]).toEqual([401, 'refresh_token_malformed'])
      expect(setCookiesOf(unnamed).at(-1)).toMatch(new RegExp(`^${name}=; Max-Age=0`))
    })
  })

  test('CK-08: cookies of other hosts are cleared on every parent domain, and the own one is set last', async () => {
    const { token, email } = await newSession()
    const login = await call('login', {
      cookie: `${name}=${forged}`,
      json: { email, password: testPassword },
    })
    const refresh = await call('refresh', { cookie: `${name}=${forged}; ${name}=${token}` })
    const logout = await call('logout', { cookie: `${name}=${forged}; ${name}=${forged}` })
    for (const answer of [login, refresh, logout]) {
      expect(answer.status).toBe(200)
      const lines = setCookiesOf(answer)
      const own = lines.at(-1)
      expect(own).toContain(`; Path=${path}; `)
      expect(own).not.toContain('Domain=')
      const cleared = lines
        .slice(0, -1)
        .map((line) => /^(\S+)=; Max-Age=0; Domain=(\S+); Path=(\S+); Secure$/.exec(line)?.slice(1))
      // An address has no parent domain, and browsers take `__Host-` from this host alone.
      const domains = scheme === 'https' ? ['auth.example.com', 'example.com'] : []
      expect(cleared).toEqual(
        domains.flatMap((domain) =>
          ['/', '/auth', '/auth/', '/auth/refresh', '/auth/reauthenticate', '/auth/logout'].map(
            (at) => [name, domain, at],
          ),
        ),
      )
      // Within the buffer that nginx has for the headers of an answer.
      expect(Buffer.byteLength(lines.join('\r\nset-cookie: '))).toBeLessThan(2_000)
    }
    // An ordinary answer has one line.
    expect(
      setCookiesOf(await call('login', { json: { email, password: testPassword } })),
    ).toHaveLength(1)
  })

  test('CK-04 V24 (RFC 6265bis §5.6): a cookie whose name only resembles the refresh cookie is ignored', async () => {
    const { token } = await newSession()
    const names = [
      name.toUpperCase(),
      name.replace('refresh', 'Refresh'),
      `x${name}`,
      `${name}x`,
      `"${name}"`,
      `=${name}`,
      `$Version=1, ${name}`,
      name.replace('_token', '%5Ftoken'),
      // As bytes: a script that trims Unicode spaces takes these for the plain name; browsers do not.
      `\u00a0${name}`,
      Buffer.from(`\u2000${name}`).toString('latin1'),
      Buffer.from(`\ufeff${name}`).toString('latin1'),
      name.toLowerCase(),
      '81-refresh_token',
      '__Secure-refresh_token',
      '__Host-refresh_token',
      // The former name on http.
      ...(isSecure ? ['refresh_token'] : []),
    ].filter((other) => other !== name)
    await attacked.unchanged(async () => {
      for (const other of names) {
        const answer = await call('refresh', { cookie: `${other}=${token}` })
        expect([other, answer.reason]).toEqual([other, 'refresh_token_missing'])
        expect(setCookiesOf(answer)).toEqual([])
      }
    })
  })

  test('CK-05 (ASVS 1.1.1): another spelling of the token is refused: the value is not decoded, unquoted or cut', async () => {
    const { token } = await newSession()
    const last = token.slice(-1)
    const values = [
      token.replace('tlr1', '%74lr1'),
      token.slice(0, -1) + `%${last.charCodeAt(0).toString(16)}`,
      encodeURIComponent(`${token} `),
      `"${token}"`,
      `${token}=`,
      `${token}==`,
      `${token},${token}`,
      `${token}\u00a0`,
      token.toLowerCase(),
      ` ${token.slice(0, 20)} ${token.slice(20)}`,
      '',
    ]
    await attacked.unchanged(async () => {
      for (const value of values) {
        const answer = await call('refresh', { cookie: `${name}=${value}` })
        expect([value, answer.reason]).toEqual([value, 'refresh_token_malformed'])
      }
    })
    // Control: the unchanged value is accepted.
    expect((await call('refresh', { cookie: `a=b;  ${name}=${token}; c=d` })).status).toBe(200)
  })
})

test('CK-10: over http the former name counts while there is no cookie of the own name, and is replaced by it', async () => {
  const { answer, email } = await signInWithCookie(plain)
  const token = refreshCookieIn(answer)!
  const other = refreshCookieIn((await signInWithCookie(plain, email)).answer)!
  const call = (cookie: string) => auth(plain.url, 'refresh', {}, { origin: plain.url, cookie })
  const beside = await call(`refresh_token=${other}; 80-refresh_token=${token}`)
  expect(beside.data.familyId).toBe(answer.data.familyId)
  const alone = await call(`refresh_token=${other}`)
  expect(alone.headers.getSetCookie()).toEqual([
    expect.stringMatching(
      /^80-refresh_token=tlr1\.[^;]+; Max-Age=\d+; Path=\/auth; HttpOnly; SameSite=Strict$/,
    ),
  ])
})

test('CK-04 V24: a request with a token in the cookie and one in the body is refused, and both sessions stay active', async () => {
  const session = await signIn(plain)
  const other = await signIn(plain)
  await plain.unchanged(async () => {
    const answer = await plain.request('/auth/refresh', {
      headers: { origin: plain.url, cookie: `refresh_token=${session.refreshToken}` },
      json: { refreshToken: other.refreshToken },
    })
    expect([answer.status, answer.reason]).toEqual([400, 'validation_failed'])
  })
})
