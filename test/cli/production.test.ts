import { afterAll, beforeAll, expect, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../support/database.ts'
import { run } from '../support/run.ts'

let database: FreshDatabase
beforeAll(async () => {
  database = await freshDatabase()
})
afterAll(() => database[Symbol.asyncDispose]())

function inProduction(args: readonly string[], env: Record<string, string> = {}) {
  return run('server/cli/main.ts', args, {
    env: { NODE_ENV: 'production', DATABASE_URL: database.url, ...env },
  })
}

test.each([
  ['migrate', []],
  ['user create', ['--email', 'a@example.com']],
  ['user erase', ['a@example.com']],
  ['sessions list', []],
  ['ledger verify', []],
  ['ledger export', []],
  ['sql', ['select 1']],
])('in production %s needs no AUTH_SECRET', async (command, args) => {
  expect(await inProduction([...command.split(' '), ...args])).toMatchObject({ code: 0 })
})

test('in production keys rotate needs AUTH_SECRET, and every command refuses a bad one', async () => {
  expect(await inProduction(['keys', 'rotate'])).toMatchObject({
    code: 3,
    stdout: '',
    stderr: expect.stringMatching(/^AUTH_SECRET: is required in production[^\n]+\n$/),
  })
  expect(await inProduction(['sessions', 'list'], { AUTH_SECRET: 'hunter2' })).toMatchObject({
    code: 3,
    stderr: expect.stringMatching(/^AUTH_SECRET: must have at least 32 bytes[^\n]+\n$/),
  })
})
