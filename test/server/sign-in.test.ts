import { expect, test } from 'vitest'
import { startApp } from '../support/app.ts'
import { moveClock } from '../support/clock.ts'
import { auth, query } from '../support/http.ts'
import { makeUser, testPassword } from '../support/users.ts'

test('RT-03, RT-05 (RFC 9700 §4.14.2, ASVS 10.4.5): a session is begun, refreshed, caught in reuse and told in SQL', async () => {
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
