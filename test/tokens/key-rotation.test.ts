import { decodeProtectedHeader } from 'jose'
import { expect, test } from 'vitest'
import { replaceSigningKeys, rotateSigningKey } from '../../server/tokens/key-changes.ts'
import { loadSigningKeys } from '../../server/tokens/signing-keys.ts'
import { startApp } from '../support/app.ts'
import { moveClock } from '../support/clock.ts'
import { auth, query } from '../support/http.ts'
import { testSecret } from '../support/server.ts'
import { makeUser, testPassword } from '../support/users.ts'
import { waitFor } from '../support/wait.ts'

const day = 24 * 3600 * 1000

test('JK-04 (RFC 9700 §2.6): a key that has signed for 30 days gets a successor by itself, created once and published ahead', async () => {
  await using app = await startApp()
  await moveClock(app.owner.ownerSql, 31 * day)
  const processes = await Promise.all(
    Array.from({ length: 3 }, () => loadSigningKeys(app.database, [testSecret])),
  )
  const kids = processes.map((keys) => keys.jwks().keys.map(({ kid }) => kid))
  expect(new Set(kids.flat()).size).toBe(2)
  for (const keys of processes) {
    expect(keys.jwks().keys).toHaveLength(2)
    expect(keys.current().kid).toBe(keys.jwks().keys[0]!.kid)
    keys.close()
  }
})

test('JK-04 (RFC 9700 §2.6): tokens of both keys are accepted while one key takes over from the other', async () => {
  await using app = await startApp({}, { signingKeyReloadMs: 100 })
  const { email } = await makeUser(app.owner.url)
  const login = async () =>
    (await auth(app.url, 'login', { email, password: testPassword })).data.accessToken as string
  const before = await login()
  const next = await rotateSigningKey(app.database, [testSecret])
  await moveClock(app.owner.ownerSql, 11 * 60 * 1000)
  const after = await waitFor(async () => {
    const token = await login()
    return decodeProtectedHeader(token).kid === next && token
  })
  expect(decodeProtectedHeader(before).kid).not.toBe(next)
  for (const token of [before, after]) expect((await query(app.url, 'me', token)).status).toBe(200)
})

test('JK-04 (RFC 9700 §2.6): after an emergency every token of the old keys is refused, and a refresh gives a valid one', async () => {
  await using app = await startApp({}, { signingKeyReloadMs: 100 })
  const { email } = await makeUser(app.owner.url)
  const { data } = await auth(app.url, 'login', {
    email,
    password: testPassword,
    transport: 'body',
  })
  await replaceSigningKeys(app.database, [testSecret])
  await expect
    .poll(async () => (await query(app.url, 'me', data.accessToken)).reason)
    .toBe('access_token_invalid')
  const refreshed = await auth(app.url, 'refresh', { refreshToken: data.refreshToken })
  expect((await query(app.url, 'me', refreshed.data.accessToken)).status).toBe(200)
})
