import { availableParallelism } from 'node:os'
import { hash as argon2Hash, parseOptions } from '@node-rs/argon2'
import { describe, expect, test } from 'vitest'
import { median } from '../support/median.ts'
import { expectOfSamples } from '../support/samples.ts'
import { AuthError } from '../../server/errors.ts'
import { commonPasswords } from '../../server/users/common-passwords.ts'
import { createPasswords, hashesAtOnce, passwordProblem } from '../../server/users/passwords.ts'

const right = 'correct horse battery staple'

describe('a stored password', () => {
  test('PW-01 (OWASP Password Storage): a stored password is argon2id with m=19456, t=2, p=1 and its own salt of 16 bytes, and names them', async () => {
    const passwords = createPasswords()
    const [first, second] = await Promise.all([passwords.hash(right), passwords.hash(right)])
    expect(first).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/)
    expect(parseOptions(first)).toMatchObject({ saltLen: 16, outputLen: 32 })
    expect(first).not.toBe(second)
    expect(passwords.needsRehash(first)).toBe(false)
  })

  test('a stored password is verified by its password and by no other', async () => {
    const passwords = createPasswords()
    const phc = await passwords.hash(right)
    expect(await passwords.verify(phc, right)).toBe(true)
    expect(await passwords.verify(phc, `${right} `)).toBe(false)
    expect(await passwords.verify(phc, right.toUpperCase())).toBe(false)
    expect(await passwords.verify(phc, '')).toBe(false)
  })

  test('PW-06 (SP 800-63B-4 §3.1.1.2): a password is the same typed as NFC and as NFD', async () => {
    const passwords = createPasswords()
    const phc = await passwords.hash('na\u00efve caf\u00e9 owner')
    expect(await passwords.verify(phc, 'nai\u0308ve cafe\u0301 owner')).toBe(true)
    expect(await passwords.verify(phc, 'naive cafe owner')).toBe(false)
  })

  test.each([
    [63, 'the 64th character'],
    [72, 'the 73rd character, where bcrypt stops'],
    [1023, 'the last one allowed'],
  ])('PW-04 (ASVS 6.2.8): every character counts: %i equal ones before %s', async (same) => {
    const passwords = createPasswords()
    const phc = await passwords.hash(`${'a'.repeat(same)}b`)
    expect(await passwords.verify(phc, `${'a'.repeat(same)}c`)).toBe(false)
    expect(await passwords.verify(phc, `${'a'.repeat(same)}b`)).toBe(true)
  })

  test('a hash with other parameters still verifies and asks to be hashed again', async () => {
    const passwords = createPasswords()
    const weaker = await argon2Hash(right, { memoryCost: 8192, timeCost: 1, parallelism: 1 })
    expect(await passwords.verify(weaker, right)).toBe(true)
    expect(passwords.needsRehash(weaker)).toBe(true)
    const owasp = await argon2Hash(right, { memoryCost: 47_104, timeCost: 1, parallelism: 1 })
    expect(await passwords.verify(owasp, right)).toBe(true)
    expect(passwords.needsRehash(owasp)).toBe(true)
    expect(passwords.needsRehash('not a hash')).toBe(true)
  })
})

describe('PW-02: a stored hash that would cost too much is refused before it is computed', () => {
  const salt = 'A'.repeat(22)
  const output = 'A'.repeat(43)

  test.each([
    ['4 GiB of memory', `$argon2id$v=19$m=4194304,t=2,p=1$${salt}$${output}`, /m=4194304/],
    ['a million passes', `$argon2id$v=19$m=19456,t=1000000,p=1$${salt}$${output}`, /t=1000000/],
    ['255 lanes', `$argon2id$v=19$m=19456,t=2,p=255$${salt}$${output}`, /p=255/],
    ['argon2i', `$argon2i$v=19$m=19456,t=2,p=1$${salt}$${output}`, /not argon2id/],
    ['argon2d', `$argon2d$v=19$m=19456,t=2,p=1$${salt}$${output}`, /not argon2id/],
    ['version 16', `$argon2id$v=16$m=19456,t=2,p=1$${salt}$${output}`, /not version 19/],
    ['bcrypt', `$2b$12$${'a'.repeat(53)}`, /not a PHC string/],
    ['nothing', '', /not a PHC string/],
    ['a megabyte of salt', `$argon2id$v=19$m=19456,t=2,p=1$${'A'.repeat(1_000_000)}`, /not a PHC/],
  ])('a stored hash is refused: %s', async (_name, phc, detail) => {
    const before = process.memoryUsage().rss
    const startedAt = performance.now()
    const refusal = await createPasswords()
      .verify(phc, right)
      .catch((error: unknown) => error)
    expect(refusal).toBeInstanceOf(AuthError)
    expect(refusal).toMatchObject({
      reason: 'internal_error',
      detail: expect.stringMatching(detail),
    })
    // Ten times what a refusal takes on a busy machine; the hash itself would take far longer.
    expect(performance.now() - startedAt).toBeLessThan(5_000)
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 1024 * 1024)
  })
})

describe('an unknown user', () => {
  test('an unknown user is refused, whatever the password', async () => {
    const passwords = createPasswords()
    expect(await passwords.verify(null, right)).toBe(false)
    expect(await passwords.verify(null, '')).toBe(false)
  })

  test('PW-08 (ASVS 6.3.8): an unknown user costs what a wrong password costs', async () => {
    const passwords = createPasswords()
    const phc = await passwords.hash(right)
    const measure = async (rounds: number) => {
      const known: number[] = []
      const unknown: number[] = []
      // Interleaved, so that a busy neighbour slows both alike.
      for (let round = 0; round < rounds; round += 1) {
        known.push(await cpuMicros(() => passwords.verify(phc, 'wrong')))
        unknown.push(await cpuMicros(() => passwords.verify(null, 'wrong')))
      }
      return { known, unknown }
    }
    await expectOfSamples(15, measure, ({ known, unknown }) => {
      const ratio = median(unknown) / median(known)
      expect(ratio).toBeGreaterThan(0.7)
      expect(ratio).toBeLessThan(1.4)
    })
  })

  test('a check for an unknown user waits in the same queue', async () => {
    const passwords = createPasswords({ concurrency: 1, queueLimit: 0 })
    const first = passwords.verify(null, right)
    await expect(passwords.verify(null, right)).rejects.toThrow(AuthError)
    expect(await first).toBe(false)
  })
})

describe('PW-03 (ASVS 15.2.2): under load', () => {
  test.each([
    [1, 1],
    [2, 1],
    [3, 2],
    [64, 2],
  ])('hashes leave a core free: on %i cores, %i at once', (cores, atOnce) => {
    expect(hashesAtOnce(cores)).toBe(atOnce)
  })

  test('as many hash at once as the cores of this machine allow', async () => {
    const passwords = createPasswords()
    const attempts = Array.from({ length: 3 }, () => passwords.hash(right))
    expect(passwords.load().active).toBe(hashesAtOnce(availableParallelism()))
    await Promise.all(attempts)
  })

  test('as many hash as may, as many wait as may, and the rest get 503 at once', async () => {
    const passwords = createPasswords({ concurrency: 2, queueLimit: 3 })
    const attempts = Array.from({ length: 20 }, () => passwords.hash(right))
    expect(passwords.load()).toEqual({ active: 2, waiting: 3 })

    const settled = await Promise.allSettled(attempts)
    expect(settled.filter(({ status }) => status === 'fulfilled')).toHaveLength(5)
    for (const refused of settled.filter((one) => one.status === 'rejected')) {
      expect(refused.reason).toMatchObject({
        reason: 'service_unavailable',
        detail: 'password hashing is full: 2 running, 3 waiting',
        extras: { retryAfterSeconds: 1 },
      })
    }
    expect(passwords.load()).toEqual({ active: 0, waiting: 0 })
  })

  test('the refusal comes before any hash has ended', async () => {
    const passwords = createPasswords({ concurrency: 1, queueLimit: 0 })
    const order: string[] = []
    const first = passwords.hash(right).then(() => order.push('hashed'))
    const second = passwords.hash(right).catch(() => order.push('refused'))
    await Promise.all([first, second])
    expect(order).toEqual(['refused', 'hashed'])
  })

  test('callers who give up do not raise the number of running hashes', async () => {
    const passwords = createPasswords({ concurrency: 2, queueLimit: 50 })
    let most = 0
    const abandoned = Array.from({ length: 10 }, () => {
      const attempt = passwords.hash(right)
      most = Math.max(most, passwords.load().active)
      return Promise.race([attempt, Promise.resolve('gone')])
    })
    await Promise.all(abandoned)
    expect(passwords.load()).toEqual({ active: 2, waiting: 8 })
    while (passwords.load().active > 0) {
      most = Math.max(most, passwords.load().active)
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
    expect(most).toBe(2)
  })

  test('a check that fails gives its place back', async () => {
    const passwords = createPasswords({ concurrency: 1, queueLimit: 0 })
    await expect(passwords.verify('broken', right)).rejects.toThrow(AuthError)
    expect(passwords.load()).toEqual({ active: 0, waiting: 0 })
    expect(await passwords.verify(null, right)).toBe(false)
  })

  test.each([
    ['a concurrency of 0', { concurrency: 0 }],
    ['a concurrency of 1.5', { concurrency: 1.5 }],
    ['a queue limit of -1', { queueLimit: -1 }],
    ['a queue limit of NaN', { queueLimit: NaN }],
  ])('a queue with %s is refused', (_what, options) => {
    expect(() => createPasswords(options)).toThrow(RangeError)
  })
})

describe('a new password', () => {
  test('PW-04 (ASVS 6.2.1): a new password has at least the configured number of characters', () => {
    expect(problemOf('fourteen chars', 15)).toMatch(/15 characters/)
    expect(problemOf('fifteen chars!!', 15)).toBeNull()
    expect(problemOf('eight ch', 8)).toBeNull()
  })

  test('a new password is counted in code points, after composing', () => {
    expect(problemOf(emoji(16), 16)).toBeNull()
    expect(problemOf(emoji(14), 15)).toMatch(/15 characters/)
    expect(problemOf(`e\u0301${'x'.repeat(13)}`, 15)).toMatch(/15 characters/)
    expect(problemOf(`e\u0301${'x'.repeat(14)}`, 15)).toBeNull()
  })

  test('PW-04 (ASVS 6.2.9): a new password may be 64 emoji, and anything else up to 1024 bytes', () => {
    expect(problemOf(emoji(64), 15)).toBeNull()
    expect(problemOf(`${'a'.repeat(1023)}b`, 15)).toBeNull()
    expect(problemOf(`${'a'.repeat(1024)}b`, 15)).toMatch(/1024 bytes/)
    expect(problemOf('\u00e9a'.repeat(342), 15)).toMatch(/1024 bytes/)
    expect(problemOf('x'.repeat(1024 * 1024), 15)).toMatch(/1024 bytes/)
  })

  test('a password of the maximum length can still be typed decomposed', async () => {
    const passwords = createPasswords()
    const composed = '\u01d5'.repeat(512)
    const phc = await passwords.hash(composed)
    expect(await passwords.verify(phc, composed.normalize('NFD'))).toBe(true)
  })

  test('PW-05 (ASVS 6.2.5, 6.2.7): a new password needs no mixture and may hold spaces and any script', () => {
    expect(problemOf('allinlowercaseletters', 15)).toBeNull()
    expect(problemOf('   spaces   everywhere   ', 15)).toBeNull()
    expect(problemOf('пароль из нескольких слов', 15)).toBeNull()
    expect(problemOf('0918273645546372819', 15)).toBeNull()
  })

  test.each([
    ['NUL', 'fifteen chars\0 and more'],
    ['a lone high surrogate', 'fifteen chars\ud83d and more'],
    ['a lone low surrogate', 'fifteen chars\udc0e and more'],
  ])('a new password holds no %s', async (_name, password) => {
    expect(problemOf(password, 15)).toMatch(/Unicode text/)
    await expect(createPasswords().hash(password)).rejects.toMatchObject({
      reason: 'validation_failed',
    })
    expect(await createPasswords().verify(null, password)).toBe(false)
  })

  const popular = [
    'Password 12345678 Passw0rd LETMEIN1 zzzzzzzzzzzzzzz abcabcabc passwordpassword',
    'passwordpassword1 123123123123123 123456789012345 qwertyuiopasdfgh iloveyouiloveyou',
    'qwertyqwertyqwe 1qaz2wsx3edc4rfv',
  ].flatMap((line) => line.split(' '))

  test.each(popular)(
    'PW-07 (ASVS 6.2.4, SP 800-63B-4 §3.1.1.2): a new password is not %s, which many people use',
    (password) => {
      expect(problemOf(password, 8)).toMatch(/first that attackers try/)
    },
  )

  test('PW-07 (ASVS 6.2.4): more than 3,000 common passwords are refused, in any case', () => {
    const list = [...commonPasswords]
    expect(list.length).toBeGreaterThan(3_000)
    expect(list).toEqual(list.toSorted())
    for (const password of list) {
      // Shorter ones are refused for their length.
      expect(password).toMatch(/^[^A-Z\s]{8,}$/)
      expect(problemOf(password, 8)).not.toBeNull()
      expect(problemOf(password.toUpperCase(), 8)).not.toBeNull()
    }
  })

  test.each([
    ['the address', 'Alice.Smith@Mail.Bank.example'],
    ['the local part', 'alice.smith'],
    ['the local part with a few digits', 'Alice.Smith2024'],
    ['the domain', 'mail.bank.example'],
    ['a label of the domain with a few digits', 'bank1234'],
    ['several of them', 'alice.smith bank'],
    ['the name of the product', 'Token-Ledger'],
    ['the name of the product with a few digits', 'tokenledger2026!'],
  ])('PW-07 (ASVS 6.2.11): a new password is more than %s: %s', (_what, password) => {
    const email = 'alice.smith@mail.bank.example'
    expect(passwordProblem(password, { minLength: 8, email })).toMatch(/e-mail address/)
    expect(passwordProblem(`${password} quite another`, { minLength: 8, email })).toBeNull()
  })

  test('short parts of an address count for nothing, because they occur in any text, but the whole domain counts', () => {
    expect(passwordProblem('compact9x', { minLength: 8, email: 'ac@t9x.com' })).toBeNull()
    const email = 'ada@abc.co.uk'
    expect(passwordProblem('abc.co.uk', { minLength: 8, email })).toMatch(/e-mail address/)
  })
})

async function cpuMicros(work: () => Promise<unknown>): Promise<number> {
  const before = process.cpuUsage()
  await work()
  const { user, system } = process.cpuUsage(before)
  return user + system
}

function problemOf(password: string, minLength: number): string | null {
  return passwordProblem(password, { minLength, email: 'alice@example.com' })
}

/** Different ones, because repetitions are refused. */
function emoji(count: number): string {
  return String.fromCodePoint(...Array.from({ length: count }, (_, index) => 0x1f400 + index))
}
