import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { attackedServer } from '../support/attacked-server.ts'
import { sendGuesses, untilCounted } from '../support/guesses.ts'
import { startServer, type ServerProcess } from '../support/server.ts'
import { makeQuickToGuess, makeUser, testPassword } from '../support/users.ts'

const proxied = { RATE_LIMITS: 'on', TRUSTED_PROXIES: '127.0.0.1/32' }
const attacked = attackedServer(proxied, { mayShed: true })
const wrong = 'not the password at all'

/** A second process on the same database. */
let other: ServerProcess
beforeAll(async () => {
  other = await startServer(attacked.owner.url, proxied)
})
afterAll(() => other[Symbol.asyncDispose]())

/** Each test has networks of its own (RFC 3849), so that their counts stay apart. */
let networks = 0
const network = () => `2001:db8:${(++networks).toString(16)}::`

/** @param forwarded as the trusted proxy sends it: the header it received, and the address it saw */
async function login(email: string, forwarded: string, password = wrong) {
  const headers = { 'x-forwarded-for': forwarded }
  return attacked.request('/auth/login', { headers, json: { email, password } })
}

describe('V16 HT-01 PW-10 (ASVS 6.3.1): a caller who guesses passwords cannot choose the address that is counted', () => {
  test('an address that the caller puts in front of the one that the proxy saw is ignored', async () => {
    const { email } = await makeUser(attacked.owner.url)
    const seen = `${network()}1`
    const spoofs = [
      '192.0.2.1',
      '127.0.0.1',
      '::1',
      'unknown',
      '',
      ', ,',
      "'; --",
      '1'.repeat(9_000),
    ]
    for (let i = 0; i < 10; i++)
      expect((await login(email, `${spoofs[i % spoofs.length]}, ${seen}`)).reason).toBe(
        'invalid_credentials',
      )
    for (const spoofed of spoofs)
      expect((await login(email, `${spoofed}, ${seen}`)).reason).toBe('too_many_attempts')
  })

  test('all addresses of one IPv6 network count together', async () => {
    const { email } = await makeUser(attacked.owner.url)
    const own = network()
    for (let i = 1; i <= 10; i++)
      expect((await login(email, `${own}${i}`)).reason).toBe('invalid_credentials')
    expect((await login(email, `${own}ffff`)).reason).toBe('too_many_attempts')
  })

  test('two users behind one proxy are counted separately', async () => {
    const { email } = await makeUser(attacked.owner.url)
    const attacker = `${network()}1`
    for (let i = 0; i < 11; i++) await login(email, attacker)
    expect((await login(email, attacker, testPassword)).reason).toBe('too_many_attempts')
    expect((await login(email, `${network()}1`, testPassword)).status).toBe(200)
  })
})

test('PW-10 (ASVS 6.3.1): a network that tries many accounts is stopped, and other networks are not', async () => {
  const sprayer = `${network()}1`
  const accounts = Array.from({ length: 120 }, (_, i) => `sprayed-${i}@example.com`)
  await makeQuickToGuess(attacked.sql, accounts)
  const answers = await sendGuesses(120, (i) => login(accounts[i]!, sprayer))
  expect(answers.filter(({ reason }) => reason === 'too_many_attempts')).toHaveLength(20)
  const { email } = await makeUser(attacked.owner.url)
  expect((await login(email, sprayer, testPassword)).reason).toBe('too_many_attempts')
  expect((await login(email, `${network()}1`, testPassword)).status).toBe(200)
})

test('PW-10 (ASVS 6.3.1): guesses at two processes at once count against one limit', async () => {
  const { email } = await makeUser(attacked.owner.url)
  const headers = { 'content-type': 'application/json', 'x-forwarded-for': `${network()}1` }
  const body = JSON.stringify({ email, password: wrong })
  const statuses = await Promise.all(
    Array.from({ length: 60 }, async (_, i) => {
      const { url } = i % 2 ? attacked : other
      const { status } = await untilCounted(() =>
        fetch(`${url}/auth/login`, { method: 'POST', headers, body }),
      )
      return status
    }),
  )
  expect(statuses.filter((status) => status === 401)).toHaveLength(10)
  expect(statuses.filter((status) => status === 429)).toHaveLength(50)
})

test('TR-03 PW-10 V14 (tRPC #5825): four guesses in one request count as four', async () => {
  const { email } = await makeUser(attacked.owner.url)
  const forwarded = `${network()}1`
  const { body } = await login(email, forwarded, testPassword)
  const headers = {
    authorization: `Bearer ${body.result.data.accessToken}`,
    'x-forwarded-for': forwarded,
  }
  const guess = { currentPassword: wrong, newPassword: 'another long sentence of words' }
  const reasons: string[] = []
  // Four at a time: a path has room for no more.
  for (let i = 0; i < 3; i++) {
    const path = Array.from({ length: 4 }, () => 'account.changePassword').join()
    const json = { 0: guess, 1: guess, 2: guess, 3: guess }
    const answer = await attacked.request(`/trpc/${path}?batch=1`, { headers, json })
    reasons.push(...answer.body.map((one: any) => one.error.data.reason))
  }
  expect(reasons.filter((reason) => reason === 'invalid_credentials')).toHaveLength(10)
  expect(reasons.filter((reason) => reason === 'too_many_attempts')).toHaveLength(2)
})

test('PW-10 V16 (ASVS 6.1.1): guesses from many networks lock out strangers, but not the owner at a known address', async () => {
  const { email } = await makeUser(attacked.owner.url)
  const home = `${network()}1`
  expect((await login(email, home, testPassword)).status).toBe(200)
  await makeQuickToGuess(attacked.sql, [email])
  await sendGuesses(110, () => login(email, `${network()}1`))
  const abroad = await login(email, `${network()}1`, testPassword)
  expect([abroad.status, abroad.reason]).toEqual([429, 'too_many_attempts'])
  expect(Number(abroad.headers['retry-after'])).toBeLessThanOrEqual(60 * 60)
  expect((await login(email, home, testPassword)).status).toBe(200)
})
