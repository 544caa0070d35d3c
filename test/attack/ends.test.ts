import { beforeAll, describe, expect, test } from 'vitest'
import { adminEmail, attackedServer } from '../support/attacked-server.ts'
import { moveClock } from '../support/clock.ts'
import { auth, mutate, query, type Answer } from '../support/http.ts'
import { cli } from '../support/cli.ts'
import {
  fromPage,
  kindsOf,
  signIn,
  signInWithCookie,
  type BodySession,
} from '../support/sessions.ts'
import { testPassword } from '../support/users.ts'

const world = attackedServer()
let admin: BodySession

beforeAll(async () => {
  admin = await signIn(world, adminEmail)
})

const asAdmin = (path: string, input: unknown) =>
  mutate(world.url, `admin.${path}`, admin.accessToken, input)

async function commandLine(...args: string[]): Promise<void> {
  expect((await cli(world.database.url, args)).code).toBe(0)
}

/** Every way to end a session; `other` is another session of the same user. */
const ways: Record<string, (one: BodySession, other: BodySession) => Promise<unknown>> = {
  logout: ({ refreshToken }) => auth(world.url, 'logout', { refreshToken }),
  'logout everywhere': (_one, { refreshToken }) =>
    auth(world.url, 'logout', { refreshToken, everywhere: true }),
  'sessions.revoke': ({ familyId }, { accessToken }) =>
    mutate(world.url, 'sessions.revoke', accessToken, { familyId }),
  'sessions.revokeOthers': (_one, { accessToken }) =>
    mutate(world.url, 'sessions.revokeOthers', accessToken),
  'account.changePassword': (_one, { accessToken }) =>
    mutate(world.url, 'account.changePassword', accessToken, {
      currentPassword: testPassword,
      newPassword: 'another horse, another staple',
    }),
  'admin.sessions.revoke': ({ familyId }) =>
    asAdmin('sessions.revoke', { familyId, reason: 'test' }),
  'admin.users.revokeSessions': ({ userId }) =>
    asAdmin('users.revokeSessions', { userId, reason: 'test' }),
  'admin.users.disable': ({ userId }) => asAdmin('users.disable', { userId }),
  'admin.users.disable, though enabled again': async ({ userId }) => {
    await asAdmin('users.disable', { userId })
    return asAdmin('users.enable', { userId })
  },
  'cli sessions revoke': ({ familyId }) =>
    commandLine('sessions', 'revoke', familyId, '--reason', 'test'),
  'cli sessions revoke-user': ({ email }) =>
    commandLine('sessions', 'revoke-user', email, '--reason', 'test'),
  'cli user disable': ({ email }) => commandLine('user', 'disable', email),
  'cli user erase': ({ email }) => commandLine('user', 'erase', email),
}

describe("RT-16, V4, V6 (ASVS 7.4.1–7.4.3, RFC 9700 §4.14.2): a session's tokens stop working after", () => {
  test.each(Object.keys(ways))('after %s', async (way) => {
    const one = await signIn(world)
    const other = await signIn(world, one.email)
    const bystander = await signIn(world)
    // The end applies to every token of the session, also to one that the client has not received yet.
    const { data: newest } = await refresh(one.refreshToken)
    const said = (await ways[way]!(one, other)) as Answer | undefined
    expect(said?.status ?? 200).toBe(200)
    await world.unchanged(async () => {
      for (const token of [newest.refreshToken, one.refreshToken])
        expect(await refresh(token)).toMatchObject({ status: 401, reason: 'session_revoked' })
      for (const accessToken of [one.accessToken, newest.accessToken])
        await expectNothingOpens(accessToken)
      // `me` asks no database, but learns of the end, whichever process ended the session.
      const me = async () => (await query(world.url, 'me', newest.accessToken)).reason
      await expect.poll(me).toBe('access_token_revoked')
    })
    expect((await refresh(bystander.refreshToken)).status).toBe(200)
    expect((await query(world.url, 'sessions.list', bystander.accessToken)).status).toBe(200)
  })

  test('after a reuse', async () => {
    const { refreshToken, accessToken, email } = await signIn(world)
    const other = await signIn(world, email)
    const { data: newest } = await refresh(refreshToken)
    await moveClock(world.sql, 11_000)
    expect((await refresh(refreshToken)).reason).toBe('refresh_token_reused')
    await moveClock(world.sql, 0)
    expect((await refresh(newest.refreshToken)).reason).toBe('refresh_token_reused')
    await expectNothingOpens(accessToken)
    await expectNothingOpens(newest.accessToken)
    expect((await query(world.url, 'sessions.list', other.accessToken)).status).toBe(200)
  })
})

function refresh(refreshToken: string): Promise<Answer> {
  return auth(world.url, 'refresh', { refreshToken })
}

async function expectNothingOpens(accessToken: string): Promise<void> {
  const passwords = { currentPassword: testPassword, newPassword: `${testPassword} again` }
  for (const answer of [
    await query(world.url, 'sessions.list', accessToken),
    await mutate(world.url, 'sessions.revokeOthers', accessToken),
    await mutate(world.url, 'account.changePassword', accessToken, passwords),
    await query(world.url, 'admin.users.list', accessToken),
  ])
    expect(answer).toMatchObject({ status: 401, reason: 'access_token_revoked' })
}

describe('RT-20, V7 (ASVS 7.2.4): a cookie that an attacker planted before a sign-in', () => {
  test.each(['login', 'register'])(
    '%s begins a new session and ignores the planted cookie',
    async (procedure) => {
      const attacker = await signInWithCookie(world)
      const victim =
        procedure === 'login' ? (await signIn(world)).email : `new-${Date.now()}@example.com`
      const input = { email: victim, password: testPassword }
      const answer = await fromPage(world, procedure, attacker.cookie, input)
      expect(answer.status).toBe(200)
      const { familyId, user } = answer.data
      expect(familyId).not.toBe(attacker.familyId)
      expect(user.email).toBe(victim)
      // The attacker's session is unchanged, and neither session sees the other.
      expect(await kindsOf(world, attacker.familyId)).toEqual(['issued'])
      const own = await fromPage(world, 'refresh', attacker.cookie)
      expect(own.data).toMatchObject({
        familyId: attacker.familyId,
        user: { email: attacker.email },
      })
      const list = await query(world.url, 'sessions.list', own.data.accessToken)
      expect(list.data.items.map((item: any) => item.familyId)).toEqual([attacker.familyId])
    },
  )

  test('a sign-in that fails leaves the planted cookie and its session alone', async () => {
    const attacker = await signInWithCookie(world)
    const { email } = await signIn(world)
    await world.unchanged(async () => {
      const input = { email, password: 'a wrong password, long enough' }
      const answer = await fromPage(world, 'login', attacker.cookie, input)
      expect(answer.reason).toBe('invalid_credentials')
      expect(answer.headers.getSetCookie()).toEqual([])
    })
  })
})

describe('RT-19, V8 (ASVS 8.2.2): only a caller who holds a session can end it', () => {
  test('a made-up cookie ends nothing', async () => {
    const victim = await signInWithCookie(world)
    const token = victim.cookie.slice(victim.cookie.indexOf('=') + 1)
    const bytes = Buffer.from(token.slice('tlr1.'.length), 'base64url')
    const changed = (at: number) => {
      const copy = Buffer.from(bytes)
      copy[at]! ^= 1
      return `tlr1.${copy.toString('base64url')}`
    }
    const own = await signInWithCookie(world)
    const ownBytes = Buffer.from(own.cookie.slice(own.cookie.indexOf('.') + 1), 'base64url')
    const madeUp = [
      // Family, generation, secret and MAC: the MAC covers each bit.
      ...[0, 15, 16, 19, 20, 51, 52, 67].map(changed),
      // The victim's family in a token of the attacker.
      `tlr1.${Buffer.concat([bytes.subarray(0, 16), ownBytes.subarray(16)]).toString('base64url')}`,
      victim.familyId,
      `${victim.familyId}.0`,
      `s:${victim.familyId}.AAAA`,
      Buffer.from(JSON.stringify({ familyId: victim.familyId })).toString('base64url'),
    ]
    await world.unchanged(async () => {
      for (const value of madeUp)
        for (const everywhere of [false, true]) {
          const { body } = await world.request('/auth/logout', {
            headers: { origin: world.url, cookie: `refresh_token=${value}` },
            json: { everywhere },
          })
          expect([value, body.result?.data]).toEqual([value, { success: true, revoked: 0 }])
        }
    })
    expect((await fromPage(world, 'refresh', victim.cookie)).status).toBe(200)
  })

  test("a call that names the session of another user beside the caller's own token is refused", async () => {
    const victim = await signIn(world)
    const own = await signIn(world)
    await world.unchanged(async () => {
      for (const name of ['familyId', 'sessionId', 'sid', 'userId', 'user']) {
        const input = { refreshToken: own.refreshToken, [name]: victim.familyId, everywhere: true }
        expect((await auth(world.url, 'logout', input)).reason).toBe('validation_failed')
      }
    })
  })

  test('a logout everywhere ends the sessions of its own user alone', async () => {
    const victim = await signIn(world)
    const own = await signIn(world)
    await auth(world.url, 'logout', { refreshToken: own.refreshToken, everywhere: true })
    expect(await kindsOf(world, victim.familyId)).toEqual(['issued'])
    expect((await query(world.url, 'sessions.list', victim.accessToken)).status).toBe(200)
  })
})
