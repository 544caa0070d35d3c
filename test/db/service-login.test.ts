import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { canServe } from '../../db/migrate.ts'
import { admitServiceLogin, scramVerifier } from '../../db/service-login.ts'
import { dropLogin } from '../support/admin.ts'
import { emptyDatabase, freshDatabase } from '../support/database.ts'
import { loginWith } from '../support/login.ts'
import { plainlyOwned } from '../support/plain-owner.ts'
import { run, withoutWaits } from '../support/run.ts'
import { startServer, testSecret } from '../support/server.ts'

/** A login that does not exist yet, with the URL of `database`. Disposing drops it. */
function newLogin(database: { readonly url: string }) {
  // With a dot, which the driver takes for the end of a name.
  const name = `service.${randomUUID().slice(0, 8)}`
  const password = 'a long passwörd: 100 %'
  const login = `${name}:${encodeURIComponent(password)}@`
  return {
    name,
    password,
    url: database.url.replace(/^(\w+:\/\/)(?:[^@/]*@)?/, `$1${login}`),
    [Symbol.asyncDispose]: () => dropLogin(database.url, name),
  }
}

test('the login of DATABASE_URL is created with its password, which is not sent, and serves', async () => {
  await using database = await freshDatabase()
  await using login = newLogin(database)
  // Of a password that it is sent, Postgres would keep an MD5 hash.
  const name = new URL(database.url).pathname.slice(1)
  await database.ownerSql.unsafe(`alter database "${name}" set password_encryption = 'md5'`)
  await admitServiceLogin(database.url, login.url)
  const [role] = await database.ownerSql`
    select rolpassword as verifier, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls,
      (select array_agg(roleid::regrole::text) from pg_auth_members where member = a.oid) as roles
    from pg_authid a
    where rolname = ${login.name}`
  const { verifier, roles, ...attributes } = role as any
  expect(Object.values(attributes)).not.toContain(true)
  expect(roles).toEqual(['token_ledger_app'])
  const [, salt] = /^SCRAM-SHA-256\$4096:([^$]+)\$/.exec(verifier)!
  expect(scramVerifier(login.password, Buffer.from(salt!, 'base64'))).toBe(verifier)
  expect(await canServe(login.url)).toBe(true)
})

test('the verifier of a password is the one that Postgres computes', async () => {
  await using database = await freshDatabase()
  await using login = await loginWith(database)
  const [row] =
    await database.ownerSql`select rolpassword from pg_authid where rolname = ${login.name}`
  const [, salt] = /^SCRAM-SHA-256\$4096:([^$]+)\$/.exec(row!.rolpassword)!
  expect(scramVerifier(login.name, Buffer.from(salt!, 'base64'))).toBe(row!.rolpassword)
})

test('four processes create it at once, again and again', async () => {
  await using database = await freshDatabase()
  for (let round = 0; round < 10; round++) {
    await using login = newLogin(database)
    await Promise.all(Array.from({ length: 4 }, () => admitServiceLogin(database.url, login.url)))
    expect(await canServe(login.url)).toBe(true)
  }
})

test('a login that may only administer the role of the service is let take it', async () => {
  await using database = await freshDatabase()
  await using login = await loginWith(database)
  await database.ownerSql.unsafe(
    `grant token_ledger_app to ${login.name} with admin true, inherit false, set false`,
  )
  expect(await canServe(login.url)).toBe(false)
  await admitServiceLogin(database.url, login.url)
  expect(await canServe(login.url)).toBe(true)
})

test('an owner that is no superuser creates it as well', async () => {
  await using owned = await plainlyOwned()
  await using login = newLogin(owned.database)
  await admitServiceLogin(owned.login.url, login.url)
  expect(await canServe(login.url)).toBe(true)
})

test('migrate as a step of its own makes ready what a process with the lesser login then serves', async () => {
  await using empty = await emptyDatabase()
  await using login = newLogin(empty)
  expect(await canServe(login.url)).toBe(false)
  const env = { MIGRATION_DATABASE_URL: empty.url, DATABASE_URL: login.url }
  expect(await run('server/cli/main.ts', ['migrate'], { env })).toEqual({
    code: 0,
    stdout: '',
    stderr: 'the schema is up to date\n',
  })
  await using server = await startServer(login.url, { ...env, MIGRATION_DATABASE_URL: '' })
  expect((await fetch(`${server.url}/readyz`)).status).toBe(200)
})

test('a process with both logins migrates an empty database with the one and serves with the other', async () => {
  await using empty = await emptyDatabase()
  await using login = newLogin(empty)
  const env = { MIGRATION_DATABASE_URL: empty.url, DATABASE_URL: login.url }
  await using server = await startServer(login.url, env)
  expect(await (await fetch(`${server.url}/readyz`)).json()).toEqual({ status: 'ready' })
})

test('one login for both still migrates and serves', async () => {
  await using empty = await emptyDatabase()
  const env = { MIGRATION_DATABASE_URL: '', DATABASE_URL: empty.url }
  await using server = await startServer(empty.url, env)
  expect((await fetch(`${server.url}/readyz`)).status).toBe(200)
})

test('on a ledger that is not migrated, a process with the lesser login stops with one line that names the variable', async () => {
  await using empty = await emptyDatabase()
  await using login = await loginWith(empty, { roles: ['token_ledger_app'] })
  const env = { DATABASE_URL: login.url, AUTH_SECRET: testSecret }
  const { code, stderr } = await run('server/main.ts', [], { env })
  expect(code).toBe(1)
  expect(withoutWaits(stderr)).toMatch(
    /^token-ledger: cannot use the database \S+ at \S+: permission denied [^\n]+: set MIGRATION_DATABASE_URL\n$/,
  )
})

test('an owner that may not admit the login says what to do', async () => {
  await using owned = await plainlyOwned()
  await using login = await loginWith(owned.database)
  const { name } = owned.login
  await owned.database.ownerSql.unsafe(
    `revoke admin option for token_ledger_app from ${name} cascade`,
  )
  const env = { MIGRATION_DATABASE_URL: owned.login.url, DATABASE_URL: login.url }
  const { code, stderr } = await run('server/cli/main.ts', ['migrate'], { env })
  expect(code).toBe(2)
  expect(withoutWaits(stderr)).toMatch(
    /^cannot use the database [^\n]+ grant it CONNECT on the database and token_ledger_app\n$/,
  )
})

test('in a database that is closed to PUBLIC the login is let in, and an existing one as well', async () => {
  await using database = await freshDatabase()
  await using fresh = newLogin(database)
  await using known = await loginWith(database)
  const name = new URL(database.url).pathname.slice(1)
  await database.ownerSql.unsafe(`revoke connect on database ${name} from public, ${known.name}`)
  for (const { url } of [fresh, known]) {
    expect(await canServe(url)).toBe(false)
    await admitServiceLogin(database.url, url)
    expect(await canServe(url)).toBe(true)
  }
})
