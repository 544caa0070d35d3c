import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { isBreachedPassword } from '../../server/users/breached-passwords.ts'
import { startApp } from '../support/app.ts'
import { auth, mutate } from '../support/http.ts'
import { signIn } from '../support/sessions.ts'
import { makeUser, testPassword } from '../support/users.ts'

const leaked = 'a sentence that has leaked'
const sha1 = createHash('sha1').update(leaked).digest('hex').toUpperCase()

describe('PW-07 (ASVS 6.2.12): the look-up of leaked passwords', () => {
  test('gets five digits of a hash, and nothing else of the password', async () => {
    const asked: string[] = []
    const find = async (prefix: string) => {
      asked.push(prefix)
      return ['0'.repeat(35), sha1.slice(5).toLowerCase()]
    }
    expect(await isBreachedPassword(leaked, find)).toBe(true)
    expect(await isBreachedPassword('another sentence', find)).toBe(false)
    expect(asked).toEqual([sha1.slice(0, 5), expect.stringMatching(/^[0-9A-F]{5}$/)])
  })

  test('hashes the form of a password that is stored, however it was typed', async () => {
    const asked: string[] = []
    const find = async (prefix: string) => {
      asked.push(prefix)
      return []
    }
    await isBreachedPassword('caf\u00e9', find)
    await isBreachedPassword('cafe\u0301', find)
    expect(asked[0]).toBe(asked[1])
  })

  test('answers 503 when it fails or is silent, and shows nothing of its error', async () => {
    const unavailable = { reason: 'service_unavailable', extras: { retryAfterSeconds: 5 } }
    const failing = () => Promise.reject(new Error('host unknown'))
    await expect(isBreachedPassword(leaked, failing)).rejects.toMatchObject(unavailable)
    const silent = () => new Promise<string[]>(() => {})
    await expect(isBreachedPassword(leaked, silent, 5)).rejects.toMatchObject(unavailable)
  })

  test('is asked by every call that sets a password which a caller chose', async () => {
    const find = async () => [sha1.slice(5)]
    await using app = await startApp({}, { findBreachedPasswords: find })
    const admin = await makeUser(app.owner.url, 'admin@example.com', 'admin')
    const { accessToken } = await signIn(app, admin.email)

    const email = 'new@example.com'
    const refused = [
      await auth(app.url, 'register', { email, password: leaked }),
      await mutate(app.url, 'account.changePassword', accessToken, {
        currentPassword: testPassword,
        newPassword: leaked,
      }),
      await mutate(app.url, 'admin.users.create', accessToken, {
        email,
        password: leaked,
        role: 'user',
      }),
    ]
    for (const { status, reason, body } of refused) {
      expect([status, reason]).toEqual([400, 'validation_failed'])
      expect(body.error.message).toMatch(/assword: The password is in a list of leaked passwords/)
    }
    expect((await auth(app.url, 'register', { email, password: testPassword })).status).toBe(200)
  })
})
