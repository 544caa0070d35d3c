import { expect, test } from 'vitest'
import { attackedServer } from '../support/attacked-server.ts'
import { freshDatabase } from '../support/database.ts'
import { sendGuesses } from '../support/guesses.ts'
import { startServer } from '../support/server.ts'
import { auth, refreshCookieIn } from '../support/http.ts'
import { makeQuickToGuess, makeUser, testPassword } from '../support/users.ts'

const proxied = { RATE_LIMITS: 'on', TRUSTED_PROXIES: '127.0.0.1/32' }
const attacked = attackedServer(proxied, { mayShed: true })
const wrong = 'not the password at all'

/** Each test has networks of its own (RFC 3849), so that their counts stay apart. */
let networks = 0
const network = () => `2001:db8:${(++networks).toString(16)}`

type Headers = Record<string, string>

async function login(email: string, forwarded: string, password = wrong, more: Headers = {}) {
  const headers = { 'x-forwarded-for': forwarded, ...more }
  return attacked.request('/auth/login', { headers, json: { email, password } })
}

/** Uses up the hundred guesses an hour of an account, from networks that have nothing in common. */
async function lockAccount(email: string): Promise<void> {
  await makeQuickToGuess(attacked.sql, [email])
  for (let i = 0; i < 11; i++) {
    const own = `${network()}::1`
    await sendGuesses(10, () => login(email, own))
  }
  expect((await login(email, `${network()}::1`)).reason).toBe('too_many_attempts')
}

const guessed = Array.from({ length: 110 }, (_, i) => `guess-${i}@example.com`)

/** The other forms are in test/http/caller.test.ts. */
const addresses = [
  ['a port (Azure Application Gateway)', (i: number) => `203.0.113.${i}:${40_000 + i}`],
  ['the word unknown', () => 'unknown'],
] as const

test.each(addresses)(
  'V16 HT-01: where a proxy writes addresses with %s, a hundred guesses of one caller keep no other out',
  async (_what, address) => {
    const { email } = await makeUser(attacked.owner.url)
    await makeQuickToGuess(attacked.sql, guessed)
    await sendGuesses(guessed.length, (i) => login(guessed[i]!, address(1)))
    expect((await login(email, address(2), testPassword)).status).toBe(200)
  },
)

test('V16 HT-01: the ledger has the address alone, whatever the proxy writes around it', async () => {
  const { email } = await makeUser(attacked.owner.url)
  for (const forwarded of [
    '198.51.100.7:1234',
    '[2001:db8:1::7]:1234',
    '::FFFF:C633:6407',
    'unknown',
  ])
    expect((await login(email, forwarded, testPassword)).status).toBe(200)
  const kept = await attacked.sql`
    select host(ip) as ip from token_audit.events where email = ${email} order by occurred_at`
  expect(kept.map(({ ip }) => ip as string | null)).toEqual([
    '198.51.100.7',
    '2001:db8:1::7',
    '198.51.100.7',
    null,
  ])
  const lines = attacked.server.output().split('could not be read').length - 1
  expect(lines, 'lines about an address that could not be read').toBe(1)
})

test('V16 HT-01: behind a proxy that TRUSTED_PROXIES does not name, one guesser keeps no other out, and the log says so once', async () => {
  await using database = await freshDatabase()
  await using server = await startServer(database.url, { RATE_LIMITS: 'on' })
  const { email } = await makeUser(database.url)
  const from = (i: number) => ({ 'x-forwarded-for': `203.0.113.${i}` })
  await makeQuickToGuess(database.ownerSql, guessed)
  const guess = (one: string) => auth(server.url, 'login', { email: one, password: wrong }, from(1))
  await sendGuesses(guessed.length, (i) => guess(guessed[i]!))
  const owner = await auth(server.url, 'login', { email, password: testPassword }, from(2))
  expect(owner.status).toBe(200)
  expect(server.output().split('TRUSTED_PROXIES').length - 1).toBe(1)
})

test("PW-10 (ASVS 6.1.1): others' guesses do not keep the owner out who comes with the next address of a known network", async () => {
  const { email } = await makeUser(attacked.owner.url)
  const home = `${network()}:1`
  expect((await login(email, `${home}::aaaa`, testPassword)).status).toBe(200)
  expect((await login(email, '198.51.100.20', testPassword)).status).toBe(200)
  await lockAccount(email)
  expect((await login(email, `${home}::bbbb`, testPassword)).status).toBe(200)
  expect((await login(email, '198.51.100.99', testPassword)).status).toBe(200)
  expect((await login(email, '198.51.101.20', testPassword)).reason).toBe('too_many_attempts')
})

test("PW-10 (ASVS 6.1.1): others' guesses do not keep the owner out whose browser has a refresh token of this user, spent or ended", async () => {
  const { email } = await makeUser(attacked.owner.url)
  const { email: stranger } = await makeUser(attacked.owner.url)
  const origin = attacked.url
  const cookieOf = async (who: string) => {
    const answer = await auth(
      attacked.url,
      'login',
      { email: who, password: testPassword },
      { origin, 'x-forwarded-for': `${network()}::1` },
    )
    return `refresh_token=${refreshCookieIn(answer)}`
  }
  const spent = await cookieOf(email)
  await auth(attacked.url, 'refresh', {}, { origin, cookie: spent })
  const ended = await cookieOf(email)
  await auth(attacked.url, 'logout', {}, { origin, cookie: ended })
  const foreign = await cookieOf(stranger)

  await lockAccount(email)
  const abroad = (cookie: string, password = testPassword) =>
    login(email, `${network()}::1`, password, { origin, cookie })
  expect((await abroad(foreign)).reason).toBe('too_many_attempts')
  expect((await abroad(`${spent.slice(0, -4)}AAAA`)).reason).toBe('too_many_attempts')
  expect((await abroad(spent)).status).toBe(200)
  expect((await abroad(ended)).status).toBe(200)
  // A thief of the token has ten guesses with it, wherever they come from.
  const reasons: (string | undefined)[] = []
  for (let i = 0; i < 11; i++) reasons.push((await abroad(ended, wrong)).reason)
  expect(reasons).toEqual([
    ...Array.from({ length: 10 }, () => 'invalid_credentials'),
    'too_many_attempts',
  ])
})

test('PW-10 (ASVS 6.1.1): a user who never signed in is not kept out by guesses of others', async () => {
  const { email } = await makeUser(attacked.owner.url)
  await makeQuickToGuess(attacked.sql, [email])
  for (let i = 0; i < 11; i++) {
    const own = `${network()}::1`
    await sendGuesses(10, () => login(email, own))
  }
  const here = `${network()}::1`
  expect((await login(email, here, testPassword)).status).toBe(200)
  // Once there was a session, the limit for the account holds for strangers.
  expect((await login(email, `${network()}::1`, testPassword)).reason).toBe('too_many_attempts')
  expect((await login(email, here, testPassword)).status).toBe(200)
})

test('V16 (ASVS 6.3.1): guesses from one IPv6 /56 or /48 are counted together', async () => {
  const site = network()
  const sprayed = Array.from({ length: 510 }, (_, i) => `spray-${i}@example.com`)
  await makeQuickToGuess(attacked.sql, sprayed)
  let guesses = 0
  const checked = async (address: (i: number) => string, count: number) => {
    const answers = await sendGuesses(count, () => login(sprayed[guesses++]!, address(guesses)))
    return answers.filter(({ status }) => status === 401).length
  }
  // One address of each /64: a /56 has 256 of them, and a /48 has 256 times as many.
  const of56 = await checked((i) => `${site}:${(i % 256).toString(16)}::1`, 260)
  expect(of56).toBe(200)
  const of48 = await checked((i) => `${site}:${(0x100 * (1 + (i % 200))).toString(16)}::1`, 250)
  expect(of48).toBe(200)
})

test('V16 (ASVS 2.4.1): registrations from one IPv6 /56 are counted together', async () => {
  const site = network()
  const statuses: number[] = []
  for (let i = 0; i < 43; i++) {
    const headers = { 'x-forwarded-for': `${site}:${i.toString(16)}::1` }
    const json = { email: `registered-${i}@example.com`, password: testPassword }
    statuses.push((await attacked.request('/auth/register', { headers, json })).status)
  }
  expect(statuses.filter((status) => status === 200)).toHaveLength(40)
  expect(statuses.slice(40)).toEqual([429, 429, 429])
})

test('PW-10 (ASVS 6.3.1): a caller without a known address has a hundred guesses an hour, also at an account that was never used', async () => {
  const { email } = await makeUser(attacked.owner.url)
  await makeQuickToGuess(attacked.sql, [email])
  const answers = await sendGuesses(120, () => login(email, 'unknown'))
  expect(answers.filter(({ status }) => status === 401)).toHaveLength(100)
})
