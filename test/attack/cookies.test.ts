import { describe, expect, test } from 'vitest'
import { attackedServer, type AttackAnswer } from '../support/attacked-server.ts'
import { signIn } from '../support/sessions.ts'
import { makeUser, testPassword } from '../support/users.ts'

const publicUrl = 'https://auth.example.com'
const plain = attackedServer()
const secure = attackedServer({ PUBLIC_URL: publicUrl })

const services = [
  { scheme: 'http', name: 'refresh_token', attacked: plain, origin: () => plain.url },
  { scheme: 'https', name: '__Secure-refresh_token', attacked: secure, origin: () => publicUrl },
]
const forged = `tlr1.${'A'.repeat(91)}`
const setCookiesOf = (answer: AttackAnswer) => answer.headers['set-cookie'] ?? []

describe.each(services)('over $scheme', ({ scheme, name, attacked, origin }) => {
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
      await call('register', { json: { email: `${scheme}@example.com`, password: testPassword } }),
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
    const attributes = ['HttpOnly', 'Path=/auth', 'SameSite=Strict']
    if (scheme === 'https') attributes.push('Secure')
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

  test('CK-04 V24 (RFC 6265 §4.2.2): two refresh cookies are refused, in either order and in one header or two', async () => {
    const { token } = await newSession()
    const cookies = [
      `${name}=${token}; ${name}=${forged}`,
      `${name}=${forged}; ${name}=${token}`,
      `${name}=${token}; ${name}=${token}`,
      `${name}=${token};${name}=`,
      `a=b;${name}=${token};c=d;\t${name}=${forged}`,
      [`${name}=${token}`, `${name}=${forged}`],
      [`${name}=${forged}`, `${name}=${token}`],
    ]
    await attacked.unchanged(async () => {
      for (const cookie of cookies)
        for (const procedure of ['refresh', 'logout']) {
          const answer = await call(procedure, { cookie })
          expect([cookie, answer.status, answer.reason]).toEqual([cookie, 400, 'validation_failed'])
          expect(setCookiesOf(answer)).toEqual([])
        }
      // A foreign Origin is refused first, whatever the number of cookies.
      for (const foreign of [{}, { origin: 'https://evil.example' }]) {
        const headers = { ...foreign, cookie: cookies[0]! }
        const answer = await attacked.request('/auth/refresh', { json: {}, headers })
        expect([foreign, answer.reason]).toEqual([foreign, 'origin_not_allowed'])
      }
    })
    expect((await call('refresh', { cookie: `${name}=${token}` })).status).toBe(200)
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
      ...(scheme === 'http' ? ['__Secure-refresh_token', '__Host-refresh_token'] : []),
      ...(scheme === 'https' ? ['refresh_token', '__secure-refresh_token'] : []),
    ]
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
