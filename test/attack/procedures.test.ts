import { beforeAll, describe, expect, test } from 'vitest'
import { adminEmail, attackedServer } from '../support/attacked-server.ts'
import { callProcedure, procedures, sampleAudience, type Procedure } from '../support/procedures.ts'
import { testSignInToken } from '../support/server.ts'
import { signIn } from '../support/sessions.ts'

const attacked = attackedServer({ ACCESS_TOKEN_AUDIENCES: sampleAudience })
let user: string
let admin: string
beforeAll(async () => {
  user = `Bearer ${(await signIn(attacked)).accessToken}`
  admin = `Bearer ${(await signIn(attacked, adminEmail)).accessToken}`
})

/** Who may call which procedure. A new procedure fails here until it is added. */
const access: Record<string, 'public' | 'sign-in service' | 'signed in' | 'admin'> = {
  '/auth/register': 'public',
  '/auth/login': 'public',
  '/auth/refresh': 'public',
  '/auth/reauthenticate': 'public',
  '/auth/logout': 'public',
  '/auth/sessions': 'sign-in service',
  '/trpc/me': 'signed in',
  '/trpc/tokens.exchange': 'signed in',
  '/trpc/sessions.list': 'signed in',
  '/trpc/sessions.revoke': 'signed in',
  '/trpc/sessions.revokeOthers': 'signed in',
  '/trpc/account.changePassword': 'signed in',
  '/trpc/account.events': 'signed in',
  '/trpc/admin.sessions.list': 'admin',
  '/trpc/admin.sessions.get': 'admin',
  '/trpc/admin.sessions.stateAt': 'admin',
  '/trpc/admin.sessions.revoke': 'admin',
  '/trpc/admin.sessions.revokeMany': 'admin',
  '/trpc/admin.users.list': 'admin',
  '/trpc/admin.users.create': 'admin',
  '/trpc/admin.users.setRole': 'admin',
  '/trpc/admin.users.disable': 'admin',
  '/trpc/admin.users.enable': 'admin',
  '/trpc/admin.users.revokeSessions': 'admin',
  '/trpc/admin.ledger.events': 'admin',
  '/trpc/admin.ledger.verify': 'admin',
  '/trpc/admin.ledger.verification': 'admin',
  '/trpc/admin.ledger.checkpoint': 'admin',
  '/trpc/admin.ledger.checkpoints': 'admin',
  '/trpc/admin.ledger.position': 'admin',
  '/trpc/admin.ledger.tail': 'admin',
  '/trpc/admin.incidents.list': 'admin',
  '/trpc/admin.incidents.byClient': 'admin',
  '/trpc/admin.actions.list': 'admin',
  '/trpc/admin.overview': 'admin',
  '/trpc/admin.stats': 'admin',
}

const urlsOf = (list: readonly Procedure[]) => list.map(({ url }) => url).toSorted()
const byUrl = (list: readonly Procedure[]) => list.map((made) => [made.url, made] as const)
const guarded = byUrl(procedures.filter(({ url }) => access[url] !== 'public'))
const taking = byUrl(procedures.filter(({ fields }) => fields !== null))

test('TR-13 PW-15 (ASVS 8.2.1): every procedure has an access level, and there are no others', () => {
  expect(urlsOf(procedures)).toEqual(Object.keys(access).toSorted())
})

test.each(guarded)(
  'TR-13 TR-06 (ASVS 8.2.1): %s refuses a caller without its access level before it reads the input',
  async (_url, procedure) => {
    const level = access[procedure.url]
    const isForService = level === 'sign-in service'
    const strangers = [
      '',
      'Bearer a.b.c',
      'Basic dXNlcjpwYXNzd29yZA==',
      ...(isForService ? [user, admin, testSignInToken] : []),
    ]
    await attacked.unchanged(async () => {
      for (const input of [procedure.sample, { x: 1 }, null]) {
        for (const authorization of strangers) {
          const answer = await callProcedure(attacked, procedure, {
            input,
            headers: { authorization },
          })
          expect(answer.reason).toMatch(
            isForService ? /^sign_in_refused$/ : /^access_token_(missing|invalid)$/,
          )
          // A refused stream has already begun to answer, so the refusal is in its body.
          expect(answer.status).toBe(procedure.type === 'subscription' ? 200 : 401)
        }
        if (level !== 'admin') continue
        const headers = { authorization: user }
        const answer = await callProcedure(attacked, procedure, { input, headers })
        expect(answer.reason).toBe('role_required')
      }
    })
  },
)

test.each(taking)(
  'TR-11 TR-12 V13 (ASVS 15.3.3): %s refuses unknown keys and keys of a prototype',
  async (url, procedure) => {
    const { sample } = procedure
    const extra = [
      { ...sample, isAdmin: true },
      { ...sample, constructor: { prototype: { polluted: true } } },
      { ...sample, toString: 'x' },
      JSON.parse(
        `{"__proto__":{"polluted":true},${JSON.stringify(sample).slice(1)}`.replace(',}', '}'),
      ),
      { json: sample, meta: { values: { email: ['Date'] } } },
      { 0: sample },
      [sample],
    ]
    await attacked.unchanged(async () => {
      for (const input of extra) {
        const answer = await callProcedure(attacked, procedure, {
          input,
          headers: {
            authorization: url === '/auth/sessions' ? `Bearer ${testSignInToken}` : admin,
          },
        })
        expect([input, answer.reason]).toEqual([input, 'validation_failed'])
        expect(answer.text).not.toMatch(/polluted|isAdmin/)
      }
    })
  },
)

test('V13: no prototype of the service was changed', async () => {
  // A polluted prototype would show in every object of an answer.
  const answer = await attacked.request('/trpc/me', {
    method: 'GET',
    headers: { authorization: user },
  })
  expect(Object.keys(answer.body.result.data).toSorted()).toEqual([
    'accessTokenExpiresAt',
    'authenticatedAt',
    'familyId',
    'methods',
    'user',
  ])
  expect((await attacked.request('/auth/logout', { json: {} })).body).toEqual({
    result: { data: { success: true, revoked: 0 } },
  })
})

test('TR-14: a procedure that needs no access token ignores one, good or bad', async () => {
  const { refreshToken } = await signIn(attacked)
  const headers = { authorization: 'Bearer a.b.c' }
  const answer = await attacked.request('/auth/refresh', { headers, json: { refreshToken } })
  expect(answer.status).toBe(200)
  await attacked.unchanged(async () => {
    expect(
      (await attacked.request('/auth/refresh', { headers: { authorization: admin }, json: {} }))
        .reason,
    ).toBe('refresh_token_missing')
  })
})

describe('TR-08 V19 (ASVS 14.2.1): a token in the URL is not accepted and not logged', () => {
  test('an access token in the URL', async () => {
    const { accessToken } = await signIn(attacked)
    for (const search of [
      `access_token=${accessToken}`,
      `token=${accessToken}`,
      `authorization=Bearer%20${accessToken}`,
      `connectionParams=${encodeURIComponent(JSON.stringify({ authorization: `Bearer ${accessToken}`, token: accessToken }))}`,
    ]) {
      const answer = await attacked.request(`/trpc/me?${search}`, { method: 'GET' })
      expect(answer.reason).toBe('access_token_missing')
    }
    expect(attacked.server.output()).not.toContain(accessToken)
  })

  test('a refresh token in the URL', async () => {
    const { refreshToken } = await signIn(attacked)
    await attacked.unchanged(async () => {
      for (const name of ['refreshToken', 'refresh_token', 'input']) {
        const value = name === 'input' ? JSON.stringify({ refreshToken }) : refreshToken
        const answer = await attacked.request(
          `/auth/refresh?${name}=${encodeURIComponent(value)}`,
          { json: {} },
        )
        expect(answer.reason).toBe('refresh_token_missing')
      }
    })
    expect(attacked.server.output()).not.toContain(refreshToken)
  })
})

test('TR-16 (ASVS 15.3.1): no answer holds a value that must stay in the database', async () => {
  const secrets = await attacked.sql<{ secret: string }[]>`
    select password_hash as secret from token_ledger.user_account
    union select encode(token_hash, 'hex') from token_ledger.token_event where token_hash is not null
    union select encode(token_hash, 'base64') from token_ledger.token_event where token_hash is not null
    union select encode(salt, 'hex') from token_ledger.token_event where salt is not null
    union select encode(origin_salt, 'hex') from token_ledger.token_event where origin_salt is not null`
  expect(secrets.length).toBeGreaterThan(5)
  const [family] = await attacked.sql<{ id: string; user: string }[]>`
    select family_id as id, user_id as user from token_ledger.token_family limit 1`
  const known = { familyId: family!.id, userId: family!.user, at: new Date().toISOString() }
  for (const procedure of procedures.filter(({ type }) => type === 'query')) {
    const given = Object.entries(known).filter(([name]) => name in procedure.sample)
    const input =
      procedure.fields === null ? undefined : { ...procedure.sample, ...Object.fromEntries(given) }
    const { text, status } = await callProcedure(attacked, procedure, {
      input,
      headers: { authorization: admin },
    })
    expect([procedure.url, status]).toEqual([procedure.url, 200])
    for (const { secret } of secrets) expect(text).not.toContain(secret)
    expect(text).not.toMatch(/argon2|tlr1\.|"(password|salt|tokenHash)/i)
  }
})
