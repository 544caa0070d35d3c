import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { connect } from '../../db/connection/connect.ts'
import { migrate } from '../../db/migrate.ts'
import { usualRoles } from '../../db/roles.ts'
import { emptyDatabase, freshDatabase, type FreshDatabase } from '../support/database.ts'
import {
  familyId,
  familyRow,
  insertEvents,
  issuedRow,
  rotatedRow,
  sqlStateOf,
} from '../support/ledger-rows.ts'
import { cli } from '../support/cli.ts'
import { withoutWaits } from '../support/run.ts'
import { loginWith, type Login } from '../support/login.ts'
import { plainlyOwned } from '../support/plain-owner.ts'

// A copy of a database has the default rights on it, so here every login may create temporary objects.
let owner: FreshDatabase
let auditor: Login
let service: Login
beforeAll(async () => {
  owner = await freshDatabase()
  auditor = await loginWith(owner, { roles: ['token_ledger_auditor'] })
  service = await loginWith(owner, { roles: ['token_ledger_app'] })
  await service.sql.begin(async (tx) => {
    await tx`insert into token_ledger.token_family ${tx(familyRow())}`
    await insertEvents(tx, issuedRow(), rotatedRow(1))
  })
  for (const role of ['admin', 'admin'])
    await owner.ownerSql`
      insert into token_ledger.user_account (user_id, email, password_hash, role)
      values (${randomUUID()}, ${`${randomUUID()}@example.com`}, 'none', ${role})`
  await plantNames(auditor)
  await plantNames(service)
})
afterAll(async () => {
  await owner[Symbol.asyncDispose]()
  await auditor[Symbol.asyncDispose]()
  await service[Symbol.asyncDispose]()
})

/** Types and tables with the names that functions of the ledger use. Each use notes the role that runs it. */
async function plantNames({ sql }: Login): Promise<void> {
  await sql.unsafe(`
    create function pg_temp.note() returns pg_catalog.bool language plpgsql as $f$
    begin
      perform pg_catalog.set_config(
        'attack.ran_as',
        pg_catalog.concat_ws(' ', pg_catalog.current_setting('attack.ran_as', true), current_user),
        false);
      return true;
    end $f$`)
  for (const type of ['text', 'uuid', 'int4', 'int8', 'bool', 'bytea', 'timestamptz', 'inet'])
    await sql.unsafe(
      `create domain pg_temp.${type} as pg_catalog.${type} check (pg_temp.note() or value is null)`,
    )
  for (const table of ['token_event', 'token_family', 'user_account', 'pg_class', 'pg_inherits'])
    await sql.unsafe(`create view pg_temp.${table} as select pg_temp.note() as family_id`)
}

/** The roles that ran what was planted, while `statement` ran and returned. */
async function ranAs({ sql }: Login, statement: string): Promise<string[]> {
  await sql`select pg_catalog.set_config('attack.ran_as', '', false)`
  const answer = await sqlStateOf(sql.unsafe(statement))
  expect(answer).toBe('ok')
  const [row] = await sql<{ roles: string }[]>`
    select pg_catalog.current_setting('attack.ran_as', true) as roles`
  return [...new Set(row!.roles.split(' '))].filter((role) => role !== '')
}

const at = "'2030-01-02'::pg_catalog.timestamptz"
const asked = [
  'select * from token_audit.events',
  'select * from token_audit.sessions',
  'select * from token_audit.reuse_incidents',
  'select * from token_audit.replay_suspicions',
  'select * from token_audit.admin_actions',
  `select * from token_audit.session_state_at('${familyId}', ${at})`,
  `select * from token_audit.sessions_at(${at})`,
  `select * from token_audit.verify_family('${familyId}')`,
  'select * from token_audit.verify_ledger()',
]

describe('LE-15 (ASVS 8.2.1): nothing that a caller names runs as another role', () => {
  test.each(asked)('the auditor: %s', async (statement) => {
    expect(await ranAs(auditor, statement)).toEqual([])
  })

  test.each([
    ...asked,
    'select token_ledger.ensure_partitions(5)',
    `select * from token_ledger.check_families('${familyId}', '${familyId}')`,
    `insert into token_ledger.token_event (
        family_id, seq, kind, generation, occurred_at, presented_generation, reason, ip, origin_salt)
      values ('${familyId}', 3, 'replayed', 1, '2030-01-03', 0, 'grace_window', '198.51.100.9',
        '\\x00112233445566778899aabbccddeeff')`,
    `insert into token_ledger.token_event (
        family_id, seq, kind, generation, occurred_at, reason, origin_salt)
      values ('${familyId}', 4, 'revoked', 1, '2030-01-03', 'logout', '\\x00112233445566778899aabbccddeeff')`,
    `update token_ledger.user_account set role = 'user'
      where user_id = (select pg_catalog.min(user_id::pg_catalog.text)::pg_catalog.uuid
        from token_ledger.user_account where role = 'admin')`,
  ])('the service: %s', async (statement) => {
    expect(await ranAs(service, statement)).toEqual([])
  })

  test.each(['chain_event', 'suspect_replay', 'keep_an_admin', 'refuse_change'])(
    'the service cannot attach %s to a table of its own, whose types would run as the owner',
    async (name) => {
      const table = `create temporary table ${name}_of_mine (origin_hash pg_temp.bytea)`
      expect(await sqlStateOf(service.sql.unsafe(table))).toBe('ok')
      const trigger = `create trigger t before insert or update on pg_temp.${name}_of_mine
        for each row execute function token_ledger.${name}()`
      expect(await sqlStateOf(service.sql.unsafe(trigger))).toBe('42501')
    },
  )
})

test('LE-15 (ASVS 8.2.1): the auditor does not become a member of the owner', async () => {
  const { sql, name } = auditor
  await sql.unsafe(`
    drop domain pg_temp.text;
    create function pg_temp.as_owner() returns pg_catalog.bool language plpgsql as $f$
    begin
      execute pg_catalog.format('grant %I to ${name}', current_user);
      return true;
    end $f$;
    create domain pg_temp.text as pg_catalog.text check (pg_temp.as_owner())`)
  expect(await sqlStateOf(sql.unsafe(`select * from token_audit.sessions_at(${at})`))).toBe('ok')
  const memberships = await owner.ownerSql<{ role: string }[]>`
    select roleid::regrole::text as role from pg_auth_members
    where member = ${name}::regrole`
  expect([...memberships]).toEqual([{ role: 'token_ledger_auditor' }])
})

describe('LE-15 (ASVS 8.2.1): a login of a migrated database', () => {
  test('may create nothing, neither temporary objects nor in the schema public', async () => {
    await using database = await emptyDatabase()
    // As in a cluster that was upgraded from Postgres 14.
    await database.ownerSql`grant create on schema public to public`
    expect(await migrate(database.url, { roles: usualRoles })).toEqual([])
    for (const roles of [['token_ledger_auditor'], ['token_ledger_app'], []]) {
      await using login = await loginWith(database, { roles })
      for (const statement of [
        'create temporary table mine ()',
        'create domain pg_temp.text as pg_catalog.text',
        'create table public.mine ()',
        'create function public.lower(text) returns text language sql return $1',
      ])
        expect(await sqlStateOf(login.sql.unsafe(statement))).toBe('42501')
    }
  })

  test('a function that a login planted in public before the first migration does not run in it', async () => {
    await using database = await emptyDatabase()
    await database.ownerSql`grant create on schema public to public`
    await using login = await loginWith(database)
    // Closer in its types than format(text, variadic "any") of Postgres.
    await login.sql.unsafe(`
      create table public.ran_as (role text);
      create function public.format(text, text) returns text language sql volatile as $f$
        insert into public.ran_as values (current_user) returning pg_catalog.format($1, $2)
      $f$`)
    await migrate(database.url, { roles: usualRoles })
    expect(await login.sql`select * from public.ran_as`).toEqual([])
    const connected = connect(database.url, { role: 'token_ledger_app', maxConnections: 3 })
    for (const sql of [connected.transactions, connected.statements])
      expect(await sql`show search_path`).toEqual([{ search_path: 'pg_catalog, pg_temp' }])
    await connected.close()
  })

  test('a restored copy, which has the rights of a new database, is closed by the next migrate', async () => {
    await using database = await freshDatabase()
    await using login = await loginWith(database, { roles: ['token_ledger_auditor'] })
    const create = 'create temporary table mine ()'
    expect(await sqlStateOf(login.sql.unsafe(create))).toBe('ok')
    expect(await migrate(database.url)).toEqual([])
    expect(await sqlStateOf(login.sql.unsafe(create.replace('mine', 'another')))).toBe('42501')
  })
})

describe('LE-15 (ASVS 8.2.1): where the owner of the ledger is no superuser', () => {
  test('it becomes the roles of the ledger, also those that it may only administer', async () => {
    await using owned = await plainlyOwned()
    for (const role of ['token_ledger_app', 'token_ledger_auditor'])
      expect(await sqlStateOf(owned.login.sql.unsafe(`set role ${role}`))).toBe('ok')
  })

  test('the owner of the database revokes what lets a login create objects', async () => {
    await using owned = await plainlyOwned()
    expect(owned.kept).toEqual([])
    await using login = await loginWith(owned.database, { roles: ['token_ledger_auditor'] })
    const create = 'create temporary table mine ()'
    expect(await sqlStateOf(login.sql.unsafe(create))).toBe('42501')
  })

  test('another login that migrates says what it could not revoke', async () => {
    await using owned = await plainlyOwned({ ownsDatabase: false })
    const name = new URL(owned.database.url).pathname.slice(1)
    expect(owned.kept).toEqual([`TEMPORARY on database ${name}`, `CONNECT on database ${name}`])
    const { stderr, code } = await cli(owned.login.url, ['migrate'])
    expect({ stderr: withoutWaits(stderr), code }).toEqual({
      stderr: `PUBLIC keeps TEMPORARY on database ${name}: this user may not revoke it
PUBLIC keeps CONNECT on database ${name}: this user may not revoke it
the schema is up to date
`,
      code: 0,
    })
  })

  test('the auditor reads no password hash even then', async () => {
    await using owned = await plainlyOwned({ ownsDatabase: false })
    await using login = await loginWith(owned.database, { roles: ['token_ledger_auditor'] })
    const { sql } = owned.login
    await sql`
      insert into token_ledger.user_account (user_id, email, password_hash, role)
      values (gen_random_uuid(), 'one@example.com', 'the hash of a password', 'user')`
    await sql.begin(async (tx) => {
      await tx`insert into token_ledger.token_family ${tx(familyRow())}`
      await insertEvents(tx, issuedRow())
    })
    await login.sql.unsafe(`
      create function pg_temp.steal() returns pg_catalog.bool language plpgsql as $f$
      begin
        perform pg_catalog.set_config('attack.stolen',
          (select pg_catalog.max(password_hash) from token_ledger.user_account), false);
        return true;
      end $f$;
      create domain pg_temp.text as pg_catalog.text check (pg_temp.steal())`)
    const ask = `select * from token_audit.sessions_at(${at})`
    expect(await sqlStateOf(login.sql.unsafe(ask))).toBe('ok')
    const [row] = await login.sql`select pg_catalog.current_setting('attack.stolen', true) as hash`
    expect(row).toEqual({ hash: null })
  })
})
