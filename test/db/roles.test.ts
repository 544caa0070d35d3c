import postgres, { type Sql } from 'postgres'
import { expect, test } from 'vitest'
import { migrate } from '../../db/migrate.ts'
import { chooseRoles, rolesOf, usualRoles, withRoles } from '../../db/roles.ts'
import { databaseUrl, asAdmin } from '../support/admin.ts'
import { emptyDatabase, freshDatabase, type FreshDatabase } from '../support/database.ts'
import { sqlStateOf } from '../support/ledger-rows.ts'
import { loginWith, type Login } from '../support/login.ts'

// The server of the tests has the template, a ledger with the usual roles.

const nameOf = ({ url }: Pick<FreshDatabase, 'url'>) => new URL(url).pathname.slice(1)

test('a further ledger of a cluster gets roles of its own, and keeps them', async () => {
  await using second = await emptyDatabase()
  expect(await rolesOf(second.url)).toEqual(usualRoles)
  await migrate(second.url)
  const own = await rolesOf(second.url)
  expect(own.app).toMatch(/^token_ledger_app_[a-z0-9_]+$/)
  expect(own.auditor).toBe(own.app.replace('app', 'auditor'))
  await migrate(second.url)
  expect(await rolesOf(second.url)).toEqual(own)
  const [rights] = await second.ownerSql`
    select
      has_schema_privilege(${own.app}, 'token_ledger', 'usage') as own,
      has_schema_privilege('token_ledger_app', 'token_ledger', 'usage') as others`
  expect(rights).toEqual({ own: true, others: false })
})

test('an owner that may create no roles shares the usual ones, if it was granted them', async () => {
  await using second = await emptyDatabase()
  await using owner = await loginWith(second, { roles: Object.values(usualRoles) })
  await using third = await emptyDatabase()
  await using stranger = await loginWith(third)
  await asAdmin(databaseUrl(second.url, 'postgres'), async (admin) => {
    await admin.unsafe(`grant create on database ${nameOf(second)} to ${owner.name}`)
    await admin.unsafe(`grant create on database ${nameOf(third)} to ${stranger.name}`)
  })
  await migrate(owner.url)
  expect(await rolesOf(second.url)).toEqual(usualRoles)
  await expect(migrate(stranger.url)).rejects.toThrow('permission denied to create role')
})

test('databases whose names begin alike do not share roles, also when both are migrated at the same moment', async () => {
  await using second = await emptyDatabase()
  await using third = await emptyDatabase()
  await Promise.all([migrate(second.url), migrate(third.url)])
  expect(await rolesOf(third.url)).not.toEqual(await rolesOf(second.url))
})

test('a ledger keeps the usual roles, also where other databases give them rights', async () => {
  await using ledger = await freshDatabase()
  await ledger.ownerSql.begin(async (tx) => {
    expect(await chooseRoles(tx)).toEqual(usualRoles)
  })
})

test('a role of another name that may read token_audit is not taken for that of the ledger', async () => {
  await using ledger = await freshDatabase()
  await using reader = await loginWith(ledger)
  await ledger.ownerSql.unsafe(`grant usage on schema token_audit to ${reader.name}`)
  expect(await rolesOf(ledger.url)).toEqual(usualRoles)
})

test('statements get the names of the roles as whole words', () => {
  const own = { app: 'a', auditor: 'b' }
  expect(
    withRoles("to token_ledger_app, token_ledger_app_x; array['token_ledger_auditor']", own),
  ).toBe("to a, token_ledger_app_x; array['b']")
})

test('migrate closes a database that is in use to PUBLIC, and to no login that uses it', async () => {
  await using ledger = await freshDatabase()
  await using member = await loginWith(ledger, { roles: ['token_ledger_app'] })
  await using monitor = await loginWith(ledger, { roles: ['pg_monitor'] })
  await using neighbour = await loginWith(ledger)
  await using stranger = await loginWith(ledger)
  await ledger.ownerSql.unsafe(`
    create table public.of_a_neighbour ();
    grant select on public.of_a_neighbour to ${neighbour.name}`)
  await openToPublic(ledger, [member, monitor, neighbour, stranger])
  expect(await migrate(ledger.url)).toEqual([])
  for (const login of [member, monitor, neighbour]) expect(await canConnect(login)).toBe('ok')
  expect(await canConnect(stranger)).toBe('42501')
  expect(await migrate(ledger.url)).toEqual([])
  expect(await canConnect(stranger)).toBe('42501')
})

test('the owner of another ledger with the same roles is not let in as their member', async () => {
  await using ledger = await freshDatabase()
  await using other = await freshDatabase()
  await using owner = await loginWith(ledger, { roles: ['token_ledger_app'] })
  await asAdmin(databaseUrl(ledger.url, 'postgres'), (admin) =>
    admin.unsafe(`alter database ${nameOf(other)} owner to ${owner.name}`),
  )
  await openToPublic(ledger, [owner])
  await migrate(ledger.url)
  expect(await canConnect(owner)).toBe('42501')
  await asAdmin(databaseUrl(ledger.url, 'postgres'), (admin) =>
    admin.unsafe(`alter database ${nameOf(other)} owner to current_user`),
  )
})

test('a first migration lets in no member of the roles of the ledger, and the logins of other applications', async () => {
  await using ledger = await emptyDatabase()
  await using member = await loginWith(ledger, { roles: ['token_ledger_app'] })
  await using group = await loginWith(ledger)
  await using other = await loginWith(ledger, { roles: [group.name] })
  await ledger.ownerSql.unsafe(`
    create table public.of_an_application ();
    grant select on public.of_an_application to ${group.name}`)
  await openToPublic(ledger, [member, group, other])
  await migrate(ledger.url, { roles: usualRoles })
  expect(await canConnect(member)).toBe('42501')
  for (const login of [group, other]) expect(await canConnect(login)).toBe('ok')
})

test('a login that is dropped during a migration does not fail it', async () => {
  await using ledger = await freshDatabase()
  await using doomed = await loginWith(ledger, { roles: ['token_ledger_app'] })
  await using member = await loginWith(ledger, { roles: ['token_ledger_app'] })
  await openToPublic(ledger, [doomed, member])
  const holder = await ledger.ownerSql.reserve()
  await holder.unsafe(`begin; drop role ${doomed.name}`)
  const migrated = migrate(ledger.url)
  // The migration sees the login, and waits for the transaction that drops it.
  await expect.poll(() => isWaitedFor(ledger.ownerSql, holder)).toBe(true)
  await holder`commit`
  holder.release()
  expect(await migrated).toEqual([])
  expect(await canConnect(member)).toBe('ok')
})

/** As Postgres makes a database: no login has a right of its own. */
async function openToPublic(database: FreshDatabase, logins: readonly Login[]): Promise<void> {
  const names = logins.map(({ name }) => name).join(', ')
  await database.ownerSql.unsafe(`revoke connect on database ${nameOf(database)} from ${names}`)
  for (const login of logins) expect(await canConnect(login)).toBe('ok')
}

async function canConnect({ url }: Login): Promise<string> {
  const sql = postgres(url, { max: 1 })
  try {
    return await sqlStateOf(sql`select 1`)
  } finally {
    await sql.end()
  }
}

/** Whether a session waits for what this connection holds. */
async function isWaitedFor(sql: Sql, holder: Sql): Promise<boolean> {
  const [own] = await holder<{ pid: number }[]>`select pg_backend_pid() as pid`
  const waiting = await sql`
    select from pg_stat_activity where ${own!.pid} = any(pg_blocking_pids(pid))`
  return waiting.length > 0
}
