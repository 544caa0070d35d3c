import { hash } from '@node-rs/argon2'
import { expect, test } from 'vitest'
import { startApp } from '../support/app.ts'
import { moveClock } from '../support/clock.ts'
import { auth, query } from '../support/http.ts'
import { makeUser, testPassword } from '../support/users.ts'

test('PW-01 (ASVS 11.4.2): a password hashed with other parameters is hashed again at its next sign-in', async () => {
  await using app = await startApp()
  const user = await makeUser(app.owner.url)
  const { ownerSql } = app.owner
  const cheap = await hash(testPassword, { memoryCost: 8192, timeCost: 1, parallelism: 1 })
  await ownerSql`update token_ledger.user_account set password_hash = ${cheap}`
  const signIn = (password: string) => auth(app.url, 'login', { email: user.email, password })
  const kept = async () =>
    (await ownerSql`select password_hash from token_ledger.user_account`)[0]!.password_hash
  expect((await signIn('not the right password')).status).toBe(401)
  expect(await kept()).toBe(cheap)
  expect((await signIn(testPassword)).status).toBe(200)
  expect(await kept()).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/)
  expect((await signIn(testPassword)).status).toBe(200)
})

test('RT-03, RT-05 (RFC 9700 §4.14.2, ASVS 10.4.5): a session is begun, refreshed, caught in reuse, and all of it is read in SQL', async () => {
  await using app = await startApp()
  const { email } = await makeUser(app.owner.url)
  const signedIn = await auth(app.url, 'login', {
    email,
    password: testPassword,
    transport: 'body',
  })
  expect(signedIn.status).toBe(200)
  const { accessToken, refreshToken, familyId } = signedIn.data
  expect((await query(app.url, 'me', accessToken)).data.user.email).toBe(email)

  const refreshed = await auth(app.url, 'refresh', { refreshToken })
  expect(refreshed.status).toBe(200)
  await moveClock(app.owner.ownerSql, 11_000)
  const stolen = await auth(app.url, 'refresh', { refreshToken })
  expect(stolen).toMatchObject({
    status: 401,
    reason: 'refresh_token_reused',
    incidentId: `${familyId}:3`,
  })
  const ended = await auth(app.url, 'refresh', { refreshToken: refreshed.data.refreshToken })
  expect(ended).toMatchObject({
    status: 401,
    reason: 'refresh_token_reused',
    incidentId: `${familyId}:3`,
  })

  const kinds = await app.owner.ownerSql`select kind from token_audit.events order by seq`
  expect(kinds.map((row) => row.kind)).toEqual(['issued', 'rotated', 'reuse_detected'])
})
