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
  test('user create generates a password, prints it once, and prints the id as the last line', async () => {
    const made = await cli(app.owner.url, ['user', 'create', '--email', 'Ann@Example.com'])
    expect(made).toMatchObject({ code: 0, stderr: '' })
    const lines = made.stdout.trimEnd().split('\n')
    expect(lines.at(-1)).toMatch(uuid)
    const said = /^password: (\S+)$/m.exec(made.stdout)?.[1] ?? ''
    const { data } = await signIn('ann@example.com', said)
    expect(data.user).toEqual({ id: lines.at(-1), email: 'ann@example.com', role: 'user' })
  })

  test('user create reads a password from stdin, and then prints the id alone', async () => {
    const args = ['user', 'create', '--email', 'root@example.com', '--role', 'admin']
    const made = await cli(app.owner.url, [...args, '--password-stdin'], `${password}\n`)
    expect(made.code).toBe(0)
    expect(made.stdout.trimEnd()).toMatch(uuid)
    expect((await signIn('root@example.com')).data.user.role).toBe('admin')
  })

  test('user create exits 2 for an address that has an account, and creates none', async () => {
    const made = await cli(app.owner.url, ['user', 'create', '--email', 'ROOT@example.com'])
    expect(made).toMatchObject({ code: 2, stdout: '' })
    expect(made.stderr).toMatch(/account/)
  })

  test('user create refuses a password that the service would refuse', async () => {
    const args = ['user', 'create', '--email', 'short@example.com', '--password-stdin']
    const made = await cli(app.owner.url, args, 'short')
    expect(made).toMatchObject({ code: 3, stdout: '' })
    expect(made.stderr).not.toMatch(/^\s+at /m)
  })
})

test('user disable ends every session and refuses sign-ins; user enable allows them again', async () => {
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
  // Sessions that were ended stay ended.
  const still = await auth(app.url, 'refresh', { refreshToken: data.refreshToken })
  expect(still.reason).toBe('session_revoked')
})

test('user disable exits 2 for a user who does not exist', async () => {
  const outcome = await cli(app.owner.url, ['user', 'disable', 'nobody@example.com'])
  expect(outcome).toMatchObject({ code: 2, stdout: '' })
  expect(outcome.stderr).toContain('nobody@example.com')
})

describe('wrong usage exits 3 with a message on stderr', () => {
  test.each([
    ['no command', []],
    ['an unknown command', ['nothing']],
    ['half a command', ['user']],
    ['an unknown second word', ['user', 'nothing']],
    ['the command toString', ['toString']],
    ['the command constructor', ['constructor']],
    ['a missing e-mail address', ['user', 'create']],
    ['a malformed e-mail address', ['user', 'create', '--email', 'no address']],
    ['an unknown role', ['user', 'create', '--email', 'a@example.com', '--role', 'root']],
    ['an unknown option', ['user', 'create', '--email', 'a@example.com', '--colour', 'red']],
    ['a missing argument', ['user', 'disable']],
    ['an argument too many', ['user', 'disable', 'a@example.com', 'b@example.com']],
  ])('%s exits 3', async (_what, args) => {
    const outcome = await cli(app.owner.url, args)
    expect(outcome).toMatchObject({ code: 3, stdout: '' })
    expect(outcome.stderr).toMatch(/^(?:usage: |[^\n]+\nusage: token-ledger )/)
  })
})

test('a bad configuration exits 3 with one line', async () => {
  const outcome = await run('server/cli/main.ts', ['migrate'], {
    env: { DATABASE_URL: 'nonsense' },
  })
  expect(outcome).toMatchObject({ code: 3, stdout: '' })
  expect(outcome.stderr).toMatch(/^DATABASE_URL: [^\n]+\n$/)
})

test('an unreachable database exits 2 with one line that names the host and no password', async () => {
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

test('migrate reports on stderr, and may run again', async () => {
  await using database = await freshDatabase()
  const outcome = await cli(database.url, ['migrate'])
  expect(outcome).toEqual({ code: 0, stdout: '', stderr: 'the schema is up to date\n' })
})
