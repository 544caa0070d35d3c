import { expect, test } from 'vitest'
import { startApp } from '../support/app.ts'
import { moveClock } from '../support/clock.ts'
import { sendGuesses, untilCounted } from '../support/guesses.ts'
import { auth, mutate } from '../support/http.ts'
import { makeQuickToGuess, makeUser, testPassword } from '../support/users.ts'

const proxied = { RATE_LIMITS: 'on', TRUSTED_PROXIES: '127.0.0.1/32' }
const from = (ip: string) => ({ 'x-forwarded-for': ip })
const wrong = 'not the password at all'

test('PW-10 (ASVS 6.3.1): guesses sent at once are counted before the password is checked', async () => {
  await using app = await startApp(proxied)
  const { email } = await makeUser(app.owner.url)
  const guess = () => auth(app.url, 'login', { email, password: wrong }, from('192.0.2.1'))
  const answers = await Promise.all(Array.from({ length: 30 }, () => untilCounted(guess)))
  expect(answers.filter(({ reason }) => reason === 'invalid_credentials')).toHaveLength(10)
  const refused = answers.filter(({ reason }) => reason === 'too_many_attempts')
  expect(refused).toHaveLength(20)
  for (const { status, headers, body } of refused) {
    expect(status).toBe(429)
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(0)
    expect(body.error.data.retryAfterSeconds).toBe(Number(headers.get('retry-after')))
  }
})

test('PW-11 (ASVS 6.3.1): every spelling of an address counts as one account', async () => {
  await using app = await startApp(proxied)
  await makeUser(app.owner.url, 'ada@example.com')
  for (let i = 0; i < 10; i++) {
    const email = i % 2 ? 'ADA@example.com' : ' ada@Example.COM'
    await auth(app.url, 'login', { email, password: wrong }, from('192.0.2.1'))
  }
  const more = await auth(
    app.url,
    'login',
    { email: 'ada@example.com', password: wrong },
    from('192.0.2.1'),
  )
  expect(more.reason).toBe('too_many_attempts')
})

test('PW-08 PW-10 (ASVS 6.3.8): an unknown account is limited exactly like a known one', async () => {
  await using app = await startApp(proxied)
  const login = () => auth(app.url, 'login', { email: 'nobody@example.com', password: wrong })
  for (let i = 0; i < 10; i++) expect((await login()).reason).toBe('invalid_credentials')
  expect((await login()).reason).toBe('too_many_attempts')
})

test('PW-10 (ASVS 6.1.1): guesses from many networks lock out strangers, but not the owner at a known address', async () => {
  await using app = await startApp(proxied)
  const { email } = await makeUser(app.owner.url)
  const login = (ip: string, password: string) =>
    auth(app.url, 'login', { email, password }, from(ip))
  expect((await login('198.51.100.7', testPassword)).status).toBe(200)
  await makeQuickToGuess(app.owner.ownerSql, [email])
  await sendGuesses(110, (i) => login(`203.0.113.${i}`, wrong))
  expect((await login('203.0.113.200', testPassword)).reason).toBe('too_many_attempts')
  expect((await login('198.51.100.7', testPassword)).status).toBe(200)
})

test('the right password clears the count of this caller', async () => {
  await using app = await startApp(proxied)
  const { email } = await makeUser(app.owner.url)
  const login = (password: string) => auth(app.url, 'login', { email, password }, from('192.0.2.1'))
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 9; i++) expect((await login(wrong)).reason).toBe('invalid_credentials')
    expect((await login(testPassword)).status).toBe(200)
  }
})

test('PW-10 (ASVS 6.1.1): a limit passes by the clock of the database, whatever the clock of a process says', async () => {
  await using app = await startApp(proxied)
  const { email } = await makeUser(app.owner.url)
  const guess = () => auth(app.url, 'login', { email, password: wrong }, from('192.0.2.1'))
  for (let i = 0; i < 10; i++) expect((await guess()).reason).toBe('invalid_credentials')
  await moveClock(app.owner.ownerSql, 15 * 60_000)
  for (let i = 0; i < 10; i++) expect((await guess()).reason).toBe('invalid_credentials')
  expect((await guess()).reason).toBe('too_many_attempts')
})

test('HT-01 V16 (ASVS 6.3.1): a caller without a trusted proxy cannot choose its address', async () => {
  await using app = await startApp({ RATE_LIMITS: 'on' })
  const { email } = await makeUser(app.owner.url)
  for (let i = 0; i < 10; i++)
    await auth(app.url, 'login', { email, password: wrong }, from(`192.0.2.${i}`))
  const more = await auth(app.url, 'login', { email, password: wrong }, from('192.0.2.99'))
  expect(more.reason).toBe('too_many_attempts')
})

test('PW-10 (ASVS 6.3.1): a caller with a session cannot guess its password without a limit either', async () => {
  await using app = await startApp(proxied)
  const { email } = await makeUser(app.owner.url)
  const { data } = await auth(app.url, 'login', { email, password: testPassword })
  const guess = () =>
    mutate(app.url, 'account.changePassword', data.accessToken, {
      currentPassword: wrong,
      newPassword: 'another long sentence of words',
    })
  for (let i = 0; i < 10; i++) expect((await guess()).reason).toBe('invalid_credentials')
  expect((await guess()).reason).toBe('too_many_attempts')
})
