import { randomBytes, randomUUID } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import { adminEmail, attackedServer } from '../support/attacked-server.ts'
import { openForge } from '../support/forge.ts'
import { auth } from '../support/http.ts'
import { callAs, procedures } from '../support/procedures.ts'
import { testSecret } from '../support/server.ts'
import { kindsOf, signIn, signInWithCookie, type BodySession } from '../support/sessions.ts'
import { makeUser, testPassword } from '../support/users.ts'

const world = attackedServer()
let session: BodySession
let cookie: string
/** Every other secret and name of the service, but no access token and no refresh token. */
const others: Record<string, string> = {}

beforeAll(async () => {
  session = await signIn(world, adminEmail)
  ;({ cookie } = await signInWithCookie(world, adminEmail))
  const forge = await openForge(world.database.url)
  const mint = (typ: string) => forge.mint(session.accessToken, { header: { typ } })
  const [row] = await world.sql`
    select e.token_hash, e.hash, u.password_hash, k.sealed_private_key
    from token_ledger.token_event e, token_ledger.user_account u, token_ledger.signing_key k limit 1`
  const jwks = await world.request('/.well-known/jwks.json', { method: 'GET' })
  Object.assign(others, {
    'an id token': mint('JWT'),
    'a refresh token as a JWT': mint('refresh+jwt'),
    'a reset token as a JWT': mint('reset+jwt'),
    'a password': testPassword,
    'a stored password': row!.password_hash,
    'a stored token': row!.token_hash.toString('base64url'),
    'a stored token in hex': row!.token_hash.toString('hex'),
    'a stored token with our prefix': `tlr1.${row!.token_hash.toString('base64url')}`,
    'the hash of an event': row!.hash.toString('hex'),
    'a sealed key': row!.sealed_private_key.toString('base64url').slice(0, 190),
    'the secret of the service': testSecret,
    'the JWKS': jwks.text.slice(0, 190),
    'a family id': session.familyId,
    'a user id': session.userId,
    'an incident id': `${session.familyId}:2`,
    'a position': `1:${session.familyId}:1`,
    'an attempt id': randomUUID(),
    'random bytes': `tlr1.${randomBytes(68).toString('base64url')}`,
    'an e-mail': adminEmail,
  })
})

const bearerCalls = procedures.filter(({ url }) => url.startsWith('/trpc/'))

/** The places that take a refresh token, and how each is given one. */
const refreshDoors: Record<string, (token: string) => ReturnType<typeof world.request>> = {
  'refresh, in the body': (refreshToken) =>
    world.request('/auth/refresh', { json: { refreshToken } }),
  'refresh, in the cookie': (token) =>
    world.request('/auth/refresh', { json: {}, headers: asCookie(token) }),
  'logout, in the body': (refreshToken) =>
    world.request('/auth/logout', { json: { refreshToken, everywhere: true } }),
  'logout, in the cookie': (token) =>
    world.request('/auth/logout', { json: { everywhere: true }, headers: asCookie(token) }),
}

function asCookie(token: string): Record<string, string> {
  return { origin: world.url, cookie: `refresh_token=${encodeURIComponent(token)}` }
}

describe('RT-14 (RFC 8725 §3.11–3.12, ASVS 9.2.2): a token has one use', () => {
  test('control: an access token calls procedures, and a refresh token refreshes', async () => {
    expect((await callAs(world, bearerCalls[0]!, { token: session.accessToken })).status).toBe(200)
    expect((await refreshDoors['refresh, in the cookie']!(cookie.split('=')[1]!)).status).toBe(200)
    const { refreshToken } = await signIn(world, adminEmail)
    expect((await refreshDoors['refresh, in the body']!(refreshToken)).status).toBe(200)
  })

  test.each(bearerCalls)('$url accepts no other secret as a bearer token', async (procedure) => {
    const wrong = { ...others, 'a refresh token': session.refreshToken, 'a cookie': cookie }
    await world.unchanged(async () => {
      for (const [kind, token] of Object.entries(wrong)) {
        const { status, reason } = await callAs(world, procedure, { token })
        // A refused stream has already begun to answer.
        const refused = procedure.type === 'subscription' ? 200 : 401
        expect([kind, status, reason]).toEqual([kind, refused, 'access_token_invalid'])
      }
    })
  })

  test.each(Object.keys(refreshDoors))('V3: %s accepts no other secret', async (door) => {
    const wrong = { ...others, 'an access token': session.accessToken }
    await world.unchanged(async () => {
      for (const [kind, token] of Object.entries(wrong)) {
        const answer = await refreshDoors[door]!(token)
        const said = [kind, answer.status, answer.reason ?? answer.body.result.data.revoked]
        // A logout is answered 200 whatever it is given (RFC 7009 §2.2), and has ended nothing.
        const ended = door.startsWith('logout') && answer.status === 200
        const expected = ended
          ? [kind, 200, 0]
          : // A text longer than any refresh token fails validation.
            token.length > 200 && door.endsWith('body')
            ? [kind, 400, 'validation_failed']
            : [kind, 401, 'refresh_token_malformed']
        expect(said).toEqual(expected)
      }
    })
  })

  test('no token is accepted as a password', async () => {
    const { email } = await makeUser(world.database.url)
    const own = await signIn(world, email)
    await world.unchanged(async () => {
      for (const password of [own.accessToken, own.refreshToken, own.familyId, own.userId])
        expect((await auth(world.url, 'login', { email, password })).reason).toBe(
          'invalid_credentials',
        )
    })
  })
})

test.each(['GET', 'HEAD', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'QUERY'])(
  'RT-15, V3 (ASVS 3.5.3, 4.1.4): %s refreshes nothing and ends nothing',
  async (method) => {
    const own = await signInWithCookie(world)
    const headers = { origin: world.url, cookie: own.cookie }
    await world.unchanged(async () => {
      for (const path of ['/auth/refresh', '/auth/logout', '/auth/refresh?_method=POST'])
        for (const overridden of [{}, { 'x-http-method-override': 'POST' }]) {
          const answer = await world.request(path, {
            method,
            headers: { ...headers, ...overridden },
          })
          // OPTIONS from an allowed origin is a preflight request and is answered as one.
          expect([204, 400, 404, 405]).toContain(answer.status)
          expect(answer.headers['set-cookie']).toBeUndefined()
        }
    })
    expect(await kindsOf(world, own.familyId)).toEqual(['issued'])
  },
)

test('RT-24 (ASVS 2.2.1): a refresh token of another form is refused as malformed or as invalid input', async () => {
  const { refreshToken: good } = await signIn(world)
  const texts = {
    'one letter': 't',
    'the prefix': 'tlr1.',
    'one letter less': good.slice(0, -1),
    'one letter more': `${good}A`,
    'a space before': ` ${good}`,
    'a space behind': `${good} `,
    'a newline behind': `${good}\n`,
    'a NUL behind': `${good}\0`,
    'a NUL inside': `${good.slice(0, 20)}\0${good.slice(21)}`,
    'other letters': good.replace(/.$/, 'ä'),
    'a lone surrogate': `${good.slice(0, -1)}\ud800`,
    'another case': good.toUpperCase(),
    'percent encoded': good.replace('.', '%2e'),
    'the other alphabet': `${good.slice(0, -1)}/`,
    padded: `${good}==`,
    'twice itself': good.slice(0, 100) + good,
  }
  await world.unchanged(async () => {
    for (const [what, refreshToken] of Object.entries(texts)) {
      const { status, reason } = await world.request('/auth/refresh', { json: { refreshToken } })
      expect([what, status]).toEqual([what, refreshToken.length > 200 ? 400 : 401])
      expect([what, reason]).toEqual([
        what,
        refreshToken.length > 200 ? 'validation_failed' : 'refresh_token_malformed',
      ])
    }
    for (const value of [
      [good],
      { good },
      7,
      true,
      null,
      [],
      {},
      good.repeat(80),
      'x'.repeat(8192),
    ]) {
      const { status, reason } = await world.request('/auth/refresh', {
        json: { refreshToken: value },
      })
      expect([status, reason]).toEqual([400, 'validation_failed'])
    }
  })
  expect((await auth(world.url, 'refresh', { refreshToken: good })).status).toBe(200)
})

test('AT-11 (RFC 6750 §2.3 and §5.3, ASVS 14.2.1): an access token is read from the Authorization header alone', async () => {
  const { accessToken } = session
  const token = encodeURIComponent(accessToken)
  const params = encodeURIComponent(JSON.stringify({ token: accessToken, authorization: token }))
  const get = (path: string, headers: Record<string, string> = {}) =>
    world.request(`/trpc/${path}`, { method: 'GET', headers })
  await world.unchanged(async () => {
    const answers = [
      await get(`me?access_token=${token}`),
      await get(`me?token=${token}&authorization=Bearer%20${token}`),
      await get(`me?connectionParams=${params}`),
      await get('me', {
        cookie: `access_token=${accessToken}; authorization=Bearer ${accessToken}`,
      }),
      await get('me', {
        'x-access-token': accessToken,
        'x-authorization': `Bearer ${accessToken}`,
      }),
      await get('me', { 'proxy-authorization': `Bearer ${accessToken}` }),
      await get('me', { 'x-forwarded-authorization': `Bearer ${accessToken}` }),
      await get('me', {
        authorization: `Basic ${Buffer.from(`:${accessToken}`).toString('base64')}`,
      }),
      await get('me', { authorization: accessToken }),
      await get('me', { authorization: `Token ${accessToken}` }),
      await world.request('/trpc/sessions.revokeOthers', { json: { access_token: accessToken } }),
    ]
    for (const { status, reason } of answers)
      expect([status, reason]).toEqual([401, 'access_token_missing'])
    const form = await world.request('/trpc/sessions.revokeOthers', {
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: `access_token=${token}`,
    })
    expect([form.status, form.reason]).toEqual([415, 'unsupported_media_type'])
  })
})

test('AT-12 (RFC 6750 §2): a request with two access tokens is refused', async () => {
  const { accessToken } = session
  const stranger = await signIn(world)
  for (const pair of [
    [accessToken, stranger.accessToken],
    [stranger.accessToken, accessToken],
    [accessToken, 'nonsense'],
    ['nonsense', accessToken],
    [accessToken, accessToken],
  ]) {
    const lines = pair.map((token) => `Authorization: Bearer ${token}\r\n`).join('')
    const { statuses } = await world.raw(
      `GET /trpc/me HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${lines}\r\n`,
    )
    expect(statuses).toEqual([400])
    const joined = pair.map((token) => `Bearer ${token}`).join(', ')
    const headers = { authorization: joined }
    const answer = await world.request('/trpc/me', { method: 'GET', headers })
    expect(answer.reason).toBe('access_token_invalid')
  }
})
