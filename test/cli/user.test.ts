import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startApp, type TestApp } from '../support/app.ts'
import { freshDatabase } from '../support/database.ts'
import { auth } from '../support/http.ts'
import { cli } from '../support/cli.ts'
import { run } from '../support/run.ts'
import { freePort } from '../support/server.ts'
import { kindsOf } from '../support/sessions.ts'

const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const password = 'correct horse battery staple'

let app: TestApp
beforeAll(async () => {
  app = await startApp()
})
afterAll(() => app[Symbol.asyncDispose]())

function signIn(email: string, secret = password) {
  return auth(app.url, 'login', { email, password: secret, transport: 'body' })
}

describe('user create', () => {
  test('makes a password, says it once, and prints the id as the last line', async () => {
    const made = await cli(app.owner.url, ['user', 'create', '--email', 'Ann@Example.com'])
    expect(made).toMatchObject({ code: 0, stderr: '' })
    const lines = made.stdout.trimEnd().split('\n')
    expect(lines.at(-1)).toMatch(uuid)
    const said = /^password: (\S+)$/m.exec(made.stdout)?.[1] ?? ''
    const { data } = await signIn('ann@example.com', said)
    expect(data.user).toEqual({ id: lines.at(-1), email: 'ann@example.com', role: 'user' })
  })

  test('takes a password from stdin, and then the id is all it prints', async () => {
    const args = ['user', 'create', '--email', 'root@example.com', '--role', 'admin']
    const made = await cli(app.owner.url, [...args, '--password-stdin'], `${password}\n`)
    expect(made.code).toBe(0)
    expect(made.stdout.trimEnd()).toMatch(uuid)
    expect((await signIn('root@example.com')).data.user.role).toBe('admin')
  })

  test('of an address that has an account answers 2 and makes none', async () => {
    const made = await cli(app.owner.url, ['user', 'create', '--email', 'ROOT@example.com'])
    expect(made).toMatchObject({ code: 2, stdout: '' })
    expect(made.stderr).toMatch(/account/)
  })

  test('takes no password that the service would not take', async () => {
    const args = ['user', 'create', '--email', 'short@example.com', '--password-stdin']
    const made = await cli(app.owner.url, args, 'short')
    expect(made).toMatchObject({ code: 3, stdout: '' })
    expect(made.stderr).not.toContain('at ')
  })
})

test('user disable ends every session and lets nobody in; user enable lets them in again', async () => {
  const email = 'bob@example.com'
  await cli(app.owner.url, ['user', 'create', '--email', email, '--password-stdin'], password)
  const { data } = await signIn(email)
  expect((await cli(app.owner.url, ['user', 'disable', email.toUpperCase()])).code).toBe(0)
  expect(await kindsOf(app, data.familyId)).toEqual(['issued', 'revoked'])
  const refused = await auth(app.url, 'refresh', { refreshToken: data.refreshToken })
  expect(refused).toMatchObject({ reason: 'session_revoked', incidentId: `${data.familyId}:2` })
  expect((await signIn(email)).reason).toBe('invalid_credentials')

  expect((await cli(app.owner.url, ['user', 'enable', email])).code).toBe(0)
  expect((await signIn(email)).status).toBe(200)
  // What was ended stays so.
  const still = await auth(app.url, 'refresh', { refreshToken: data.refreshToken })
  expect(still.reason).toBe('session_revoked')
})

test('a user who does not exist is a question without an answer: 2', async () => {
  const outcome = await cli(app.owner.url, ['user', 'disable', 'nobody@example.com'])
  expect(outcome).toMatchObject({ code: 2, stdout: '' })
  expect(outcome.stderr).toContain('nobody@example.com')
})

describe('wrong usage is 3, said on stderr', () => {
  test.each([
    [[]],
    [['nothing']],
    [['user']],
    [['user', 'nothing']],
    [['toString']],
    [['constructor']],
    [['user', 'create']],
    [['user', 'create', '--email', 'no address']],
    [['user', 'create', '--email', 'a@example.com', '--role', 'root']],
    [['user', 'create', '--email', 'a@example.com', '--colour', 'red']],
    [['user', 'disable']],
    [['user', 'disable', 'a@example.com', 'b@example.com']],
  ])('%j', async (args) => {
    const outcome = await cli(app.owner.url, args)
    expect(outcome).toMatchObject({ code: 3, stdout: '' })
    expect(outcome.stderr).toMatch(/^(?:usage: |[^\n]+\nusage: token-ledger )/)
  })
})

test('bad configuration is 3, and one line', async () => {
  const outcome = await run('server/cli/main.ts', ['migrate'], {
    env: { DATABASE_URL: 'nonsense' },
  })
  expect(outcome).toMatchObject({ code: 3, stdout: '' })
  expect(outcome.stderr).toMatch(/^DATABASE_URL: [^\n]+\n$/)
})

test('no database is 2, and one line that names the host and no password', async () => {
  const port = await freePort()
  const url = `postgres://someone:hunter2@127.0.0.1:${port}/nothing`
  for (const args of [['migrate'], ['user', 'enable', 'a@example.com'], ['keys', 'rotate']]) {
    const outcome = await cli(url, args)
    expect(outcome).toMatchObject({ code: 2, stdout: '' })
    expect(outcome.stderr).toContain(`127.0.0.1:${port}`)
    expect(outcome.stderr.trimEnd()).not.toContain('\n')
    expect(outcome.stderr).not.toContain('hunter2')
  }
})

test('migrate says so on stderr, and again is fine', async () => {
  await using database = await freshDatabase()
  const outcome = await cli(database.url, ['migrate'])
  expect(outcome).toEqual({ code: 0, stdout: '', stderr: 'the schema is up to date\n' })
})
