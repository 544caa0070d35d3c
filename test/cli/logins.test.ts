import { afterAll, beforeAll, expect, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../support/database.ts'
import { loginWith, type Login } from '../support/login.ts'
import { run, withoutWaits } from '../support/run.ts'
import { testSecret } from '../support/server.ts'
import { makeUser } from '../support/users.ts'

let owner: FreshDatabase
let login: Login
beforeAll(async () => {
  owner = await freshDatabase()
  login = await loginWith(owner, { roles: ['token_ledger_app'] })
  await makeUser(owner.url, 'ada@example.com')
})
afterAll(async () => {
  await login[Symbol.asyncDispose]()
  await owner[Symbol.asyncDispose]()
})

/** With a login that is only a member of token_ledger_app, and none that owns the ledger. */
function asServing(...args: string[]) {
  return run('server/cli/main.ts', args, {
    env: { DATABASE_URL: login.url, AUTH_SECRET: testSecret },
  })
}

test.each([
  ['user', 'create', '--email', 'eve@example.com'],
  ['user', 'disable', 'ada@example.com'],
  ['user', 'enable', 'ada@example.com'],
  ['sessions', 'list'],
  ['sessions', 'revoke-user', 'ada@example.com', '--reason', 'a drill'],
  ['ledger', 'verify'],
  ['ledger', 'export'],
  ['keys', 'rotate'],
])('the login that serves is enough for %s %s', async (...args) => {
  expect(await asServing(...args)).toMatchObject({ code: 0 })
})

test.each([
  ['migrate'],
  ['user', 'erase', 'ada@example.com'],
  ['ledger', 'archive', '--before', '2026-02-01', '--to', '/nowhere/archive.jsonl'],
  ['sql', 'select 1'],
])('%s needs the owner, and says so in one line', async (...args) => {
  const refused = await asServing(...args)
  expect(refused).toMatchObject({ code: 2, stdout: '' })
  expect(withoutWaits(refused.stderr)).toMatch(
    /^[^\n]*permission denied[^\n]+MIGRATION_DATABASE_URL[^\n]*\n$/,
  )
})

test('with both logins each command takes its own', async () => {
  const env = {
    DATABASE_URL: login.url,
    MIGRATION_DATABASE_URL: owner.url,
    AUTH_SECRET: testSecret,
  }
  const who = 'select session_user::text as who'
  const asked = await run('server/cli/main.ts', ['sql', who], { env })
  const [{ me }] = (await owner.ownerSql`select session_user::text as me`) as any
  expect(asked.stdout).toBe(`who\n${me}\n`)
  const nowhere = 'postgres://nobody@127.0.0.1:1/nothing'
  const apart = { ...env, MIGRATION_DATABASE_URL: nowhere }
  expect(await run('server/cli/main.ts', ['sessions', 'list'], { env: apart })).toMatchObject({
    code: 0,
  })
  const erased = await run('server/cli/main.ts', ['user', 'erase', 'ada@example.com'], { env })
  expect(erased.code).toBe(0)
})
