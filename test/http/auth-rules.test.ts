import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startApp, type TestApp } from '../support/app.ts'
import { moveClock } from '../support/clock.ts'
import { auth, mutate, query, refreshCookieIn } from '../support/http.ts'
import { fromPage, kindsOf, signIn, signInWithCookie } from '../support/sessions.ts'
import { makeUser, testPassword } from '../support/users.ts'

let app: TestApp
beforeAll(async () => {
  app = await startApp()
})
afterAll(() => app[Symbol.asyncDispose]())

const forged = `tlr1.${'A'.repeat(91)}`
const cleared = ({ url } = app) =>
  `${new URL(url).port}-refresh_token=; Max-Age=0; Path=/auth; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; SameSite=Strict`

describe('AT-10 (RFC 6750 §3): the challenge of a 401 names the reason', () => {
  test('a call without a token gets the scheme and no error code (§3.1)', async () => {
    const answer = await query(app.url, 'me')
    expect(answer).toMatchObject({ status: 401, reason: 'access_token_missing' })
    expect(answer.headers.get('www-authenticate')).toBe('Bearer realm="token-ledger"')
  })

  test.each(['nonsense', 'a.b.c', '"'])(
    'the bearer token %s is answered invalid_token',
    async (token) => {
      const answer = await query(app.url, 'me', token)
      expect(answer).toMatchObject({ status: 401, reason: 'access_token_invalid' })
      expect(answer.headers.get('www-authenticate')).toMatch(
        /^Bearer realm="token-ledger", error="invalid_token", error_description="[^"\\]+"$/,
      )
    },
  )

  test('a header of another scheme is not a token', async () => {
    const response = await fetch(`${app.url}/trpc/me`, {
      headers: { authorization: 'Basic YTpi' },
    })
    expect(response.status).toBe(401)
    expect(response.headers.get('www-authenticate')).toMatch(/^Bearer /)
  })

  test('a session that was ended is answered invalid_token by procedures that ask the database', async () => {
    const session = await signIn(app)
    await auth(app.url, 'logout', { refreshToken: session.refreshToken })
    const answer = await query(app.url, 'sessions.list', session.accessToken)
    expect(answer).toMatchObject({ status: 401, reason: 'access_token_revoked' })
    expect(answer.headers.get('www-authenticate')).toContain('error="invalid_token"')
  })

  test('an end without a notification is answered the same by procedures that ask the database', async () => {
    const { accessToken, familyId } = await signIn(app)
    // Written past the service: a process finds it within a second, and refuses the call before.
    await app.owner.ownerSql`
      insert into token_ledger.token_event (family_id, seq, kind, generation, occurred_at, reason)
      values (${familyId}, 2, 'revoked', 0, token_ledger.clock(), 'logout')`
    const answer = await query(app.url, 'sessions.list', accessToken)
    expect(answer).toMatchObject({ status: 401, reason: 'access_token_revoked' })
  })

  test('a wrong current password gets the scheme as well', async () => {
    const { accessToken } = await signIn(app)
    const passwords = { currentPassword: 'wrong', newPassword: 'correct horse battery 2' }
    const answer = await mutate(app.url, 'account.changePassword', accessToken, passwords)
    expect(answer).toMatchObject({ status: 401, reason: 'invalid_credentials' })
    expect(answer.headers.get('www-authenticate')).toBe('Bearer realm="token-ledger"')
  })
})

describe('RT-18 (ASVS 7.4.1, RFC 7009 §2.2): logout', () => {
  test.each([
    ['no token at all', {}],
    ['a token that is not ours', { refreshToken: forged }],
    ['a token that is nothing', { refreshToken: '' }],
  ])('a logout with %s is answered 200 and ends nothing', async (_what, input) => {
    const answer = await auth(app.url, 'logout', input)
    expect(answer).toMatchObject({ status: 200, data: { success: true, revoked: 0 } })
  })

  test('a logout ends the family once, by the direct predecessor as well as by the current token', async () => {
    const { refreshToken, familyId } = await signIn(app)
    await auth(app.url, 'refresh', { refreshToken })
    const first = await auth(app.url, 'logout', { refreshToken })
    expect(first.data).toEqual({ success: true, revoked: 1 })
    const again = await auth(app.url, 'logout', { refreshToken })
    expect(again).toMatchObject({ status: 200, data: { success: true, revoked: 0 } })
    expect(await kindsOf(app, familyId)).toEqual(['issued', 'rotated', 'revoked'])
    const refused = await auth(app.url, 'refresh', { refreshToken })
    expect(refused).toMatchObject({
      status: 401,
      reason: 'session_revoked',
      incidentId: `${familyId}:3`,
    })
  })

  test('CK-02: a logout clears the cookie with the attributes it was set with', async () => {
    const { cookie, familyId } = await signInWithCookie(app)
    const answer = await fromPage(app, 'logout', cookie)
    expect(answer.data).toEqual({ success: true, revoked: 1 })
    expect(answer.headers.getSetCookie()).toEqual([cleared()])
    expect(await kindsOf(app, familyId)).toEqual(['issued', 'revoked'])
    const again = await fromPage(app, 'logout', cookie)
    expect(again).toMatchObject({ status: 200, data: { revoked: 0 } })
    expect(again.headers.getSetCookie()).toEqual([cleared()])
  })

  test('a logout everywhere ends every session of the user and no session of another', async () => {
    const first = await signIn(app)
    const second = await signIn(app, first.email)
    const { familyId: third } = await signInWithCookie(app, first.email)
    const other = await signIn(app)
    const { refreshToken } = first
    const answer = await auth(app.url, 'logout', { refreshToken, everywhere: true })
    expect(answer.data).toEqual({ success: true, revoked: 3 })
    const ended = await app.owner.ownerSql`
      select end_reason from token_audit.sessions
      where family_id in (${first.familyId}, ${second.familyId}, ${third})`
    expect(ended.map((row) => row.end_reason)).toEqual(Array(3).fill('logout_everywhere'))
    expect((await auth(app.url, 'refresh', other)).reason).toBe('validation_failed')
    const stillIn = await auth(app.url, 'refresh', { refreshToken: other.refreshToken })
    expect(stillIn.status).toBe(200)
    // A token of a session that has ended ends nothing more.
    const back = await signIn(app, first.email)
    const late = await auth(app.url, 'logout', { refreshToken, everywhere: true })
    expect(late.data).toEqual({ success: true, revoked: 0 })
    expect(await kindsOf(app, back.familyId)).toEqual(['issued'])
  })

  test('a logout with an expired token is answered 200', async () => {
    await using late = await startApp()
    const { refreshToken, familyId } = await signIn(late)
    await moveClock(late.owner.ownerSql, 8 * 24 * 3600 * 1000)
    const answer = await auth(late.url, 'logout', { refreshToken })
    expect(answer).toMatchObject({ status: 200, data: { success: true, revoked: 0 } })
    expect(await kindsOf(late, familyId)).toEqual(['issued'])
  })

  test('a logout in the other transport is transport_mismatch and ends nothing', async () => {
    const { refreshToken, familyId } = await signIn(app)
    const answer = await fromPage(app, 'logout', `refresh_token=${refreshToken}`)
    expect(answer).toMatchObject({ status: 401, reason: 'transport_mismatch' })
    expect(await kindsOf(app, familyId)).toEqual(['issued'])
  })
})

describe('a refresh clears the cookie only when the session cannot go on', () => {
  test('the cookie is kept for a missing cookie, a mismatch, too many attempts and an unknown family', async () => {
    expect(refreshCookieIn(await fromPage(app, 'refresh', 'a=b'))).toBeNull()
    const { refreshToken } = await signIn(app)
    const mismatch = await fromPage(app, 'refresh', `refresh_token=${refreshToken}`)
    expect(mismatch.reason).toBe('transport_mismatch')
    expect(refreshCookieIn(mismatch)).toBeNull()

    const { cookie } = await signInWithCookie(app)
    await fromPage(app, 'refresh', cookie)
    const replays = await Promise.all(
      Array.from({ length: 20 }, () => fromPage(app, 'refresh', cookie)),
    )
    expect(new Set(replays.map(({ status }) => status))).toEqual(new Set([200]))
    const tooMany = await fromPage(app, 'refresh', cookie)
    expect(tooMany).toMatchObject({ status: 429, reason: 'too_many_attempts' })
    expect(Number(tooMany.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(refreshCookieIn(tooMany)).toBeNull()
  })

  test('the cookie is cleared for a malformed token and for an ended family', async () => {
    const notOurs = await fromPage(app, 'refresh', `refresh_token=${forged}`)
    expect(notOurs.reason).toBe('refresh_token_malformed')
    expect(notOurs.headers.getSetCookie()).toEqual([cleared()])

    const { cookie, email } = await signInWithCookie(app)
    const { refreshToken } = await signIn(app, email)
    await auth(app.url, 'logout', { refreshToken, everywhere: true })
    const over = await fromPage(app, 'refresh', cookie)
    expect(over.reason).toBe('session_revoked')
    expect(over.headers.getSetCookie()).toEqual([cleared()])
  })

  test('the cookie is cleared for an expired and for a reused token', async () => {
    await using late = await startApp()
    const { cookie } = await signInWithCookie(late)
    await fromPage(late, 'refresh', cookie)
    const other = await signInWithCookie(late)
    await moveClock(late.owner.ownerSql, 10_001)
    const reused = await fromPage(late, 'refresh', cookie)
    expect(reused.reason).toBe('refresh_token_reused')
    expect(reused.headers.getSetCookie()).toEqual([cleared(late)])
    await moveClock(late.owner.ownerSql, 8 * 24 * 3600 * 1000)
    const expired = await fromPage(late, 'refresh', other.cookie)
    expect(expired.reason).toBe('session_expired')
    expect(expired.headers.getSetCookie()).toEqual([cleared(late)])
  })

  test('a token in the body does not affect the cookie', async () => {
    const answer = await auth(app.url, 'refresh', { refreshToken: forged })
    expect(answer.reason).toBe('refresh_token_malformed')
    expect(answer.headers.getSetCookie()).toEqual([])
  })
})

test('AD-04 (ASVS 8.2.2): the session of another user is answered exactly like an unknown one', async () => {
  const mine = await signIn(app)
  const theirs = await signIn(app)
  const ask = async (familyId: string) => {
    const answer = await mutate(app.url, 'sessions.revoke', mine.accessToken, { familyId })
    return { status: answer.status, body: answer.body }
  }
  const answer = await ask(theirs.familyId)
  expect(answer.status).toBe(404)
  expect(await ask('0190b5d2-0000-7000-8000-000000000000')).toEqual(answer)
  expect(await kindsOf(app, theirs.familyId)).toEqual(['issued'])
})

describe('register', () => {
  const input = { email: 'New.Person@Example.com', password: testPassword }

  test('register creates a user, never an admin, and signs the user in by cookie', async () => {
    const answer = await auth(app.url, 'register', input)
    expect(answer).toMatchObject({
      status: 200,
      data: { tokenType: 'Bearer', user: { email: 'new.person@example.com', role: 'user' } },
    })
    expect(answer.data).not.toHaveProperty('refreshToken')
    expect(refreshCookieIn(answer)).toMatch(/^tlr1\./)
  })

  test('register answers email_taken for any spelling of an address that has an account', async () => {
    const taken = await auth(app.url, 'register', { ...input, email: ' new.person@EXAMPLE.com ' })
    expect(taken).toMatchObject({ status: 409, reason: 'email_taken' })
    expect(refreshCookieIn(taken)).toBeNull()
  })

  test('a closed registration answers registration_closed, whatever the input holds', async () => {
    await using closed = await startApp({ REGISTRATION: 'closed' })
    const { email } = await makeUser(closed.owner.url)
    for (const address of [email, 'new@example.com'])
      expect(
        await auth(closed.url, 'register', { email: address, password: testPassword }),
      ).toMatchObject({ status: 403, reason: 'registration_closed' })
  })
})

test('PW-08 V22 (ASVS 6.3.8): login gives the same answer for unknown, malformed and disabled accounts and for a wrong password', async () => {
  const { email } = await makeUser(app.owner.url)
  const disabled = await makeUser(app.owner.url)
  await app.owner.ownerSql`
    update token_ledger.user_account set disabled_at = now() where user_id = ${disabled.id}`
  const bodies = await Promise.all(
    [
      { email: 'nobody@example.com', password: testPassword },
      { email: 'no address', password: testPassword },
      { email, password: 'wrong' },
      { email: disabled.email, password: testPassword },
    ].map(async (input) => (await auth(app.url, 'login', input)).body),
  )
  expect(bodies[0].error.data.reason).toBe('invalid_credentials')
  for (const body of bodies) expect(body).toEqual(bodies[0])
})
