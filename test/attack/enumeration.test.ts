import { beforeAll, describe, expect, test } from 'vitest'
import { median } from '../support/median.ts'
import { expectOfSamples } from '../support/samples.ts'
import { adminEmail, attackedServer } from '../support/attacked-server.ts'
import { mutate } from '../support/http.ts'
import { signIn } from '../support/sessions.ts'
import { makeUser, testPassword } from '../support/users.ts'

const attacked = attackedServer()
const wrong = 'not the password at all'
const person = { known: '', disabled: '' }

beforeAll(async () => {
  person.known = (await makeUser(attacked.owner.url)).email
  const { id, email } = await makeUser(attacked.owner.url)
  const { accessToken } = await signIn(attacked, adminEmail)
  await mutate(attacked.url, 'admin.users.disable', accessToken, { userId: id })
  person.disabled = email
})

/** Sign-ins that must be answered alike, so that a caller learns nothing about an account. */
const guesses = {
  'a user with a wrong password': () => ({ email: person.known, password: wrong }),
  'an unknown address': () => ({ email: 'nobody@example.com', password: wrong }),
  'a disabled user with the right password': () => ({
    email: person.disabled,
    password: testPassword,
  }),
  'a disabled user with a wrong password': () => ({ email: person.disabled, password: wrong }),
  'a malformed address': () => ({ email: 'not an address', password: wrong }),
}
type Guess = keyof typeof guesses
const names = Object.keys(guesses) as Guess[]
const login = (name: Guess) => attacked.request('/auth/login', { json: guesses[name]() })

describe('PW-08 V22 (ASVS 6.3.8): a failed sign-in does not reveal whether an account exists', () => {
  test('control: with the right password the account is there', async () => {
    const json = { email: person.known, password: testPassword }
    expect((await attacked.request('/auth/login', { json })).status).toBe(200)
  })

  test.each(names)('%s gets the same answer', async (name) => {
    const [{ headers: one, ...expected }, { headers: other, ...answer }] = [
      await login('a user with a wrong password'),
      await login(name),
    ]
    expect(answer).toEqual(expected)
    expect(answer).toMatchObject({ status: 401, reason: 'invalid_credentials' })
    expect({ ...other, date: null }).toEqual({ ...one, date: null })
  })

  test('the median times are within a factor of two', { timeout: 360_000 }, async () => {
    const measure = async (rounds: number) => {
      const times = new Map<Guess, number[]>(names.map((name) => [name, []]))
      // Interleaved, and in another order each round: a busy neighbour slows all alike.
      for (let round = 0; round < rounds; round++)
        for (let i = 0; i < names.length; i++) {
          const name = names[(i + round) % names.length]!
          const began = performance.now()
          await login(name)
          times.get(name)!.push(performance.now() - began)
        }
      return [...times]
    }
    await expectOfSamples(25, measure, (times) => {
      const usual = median(new Map(times).get('a user with a wrong password')!)
      for (const [name, ms] of times) {
        const ratio = median(ms) / usual
        expect([name, ratio]).toEqual([name, expect.toSatisfy((r: number) => r > 0.5 && r < 2)])
      }
    })
  })
})

test('PW-08 (ASVS 6.3.8): a password that no account can have is refused with the same answer for every address', async () => {
  for (const password of ['', 'x'.repeat(2_000), 'lone \ud800 surrogate', 'with \0 in it'])
    for (const [name, guess] of Object.entries(guesses)) {
      const json = { ...guess(), password }
      const { status, reason } = await attacked.request('/auth/login', { json })
      expect([name, status, reason]).toEqual([name, 401, 'invalid_credentials'])
    }
})
