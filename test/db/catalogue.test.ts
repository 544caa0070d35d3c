import { afterAll, beforeAll, expect, test } from 'vitest'
import { migrate } from '../../db/migrate.ts'
import { emptyDatabase, freshDatabase, type FreshDatabase } from '../support/database.ts'

let owner: FreshDatabase
beforeAll(async () => {
  owner = await freshDatabase()
})
afterAll(() => owner[Symbol.asyncDispose]())

const eventColumns = [
  'absolute_expires_at',
  'actor_user_id',
  'attempt_hash',
  'authenticated_at',
  'expires_at',
  'family_id',
  'generation',
  'ip',
  'kind',
  'methods',
  'occurred_at',
  'origin_salt',
  'presented_generation',
  'reason',
  'salt',
  'seq',
  'token_hash',
  'transport',
  'user_agent',
  'user_id',
]

test('LE-01 (ASVS 16.4.2): every ledger table and every partition has its guards, always enabled', async () => {
  const rows = await owner.ownerSql<{ table: string; guards: string[]; enabled: string[] }[]>`
    select c.relname as table, array_agg(t.tgname::text order by t.tgname) as guards,
      array_agg(distinct t.tgenabled::text) as enabled
    from pg_class c
    join pg_trigger t on t.tgrelid = c.oid and not t.tgisinternal
    where c.relnamespace = 'token_ledger'::regnamespace and c.relname ~ '^token_(event|family)'
    group by c.relname
    order by c.relname`
  const guards = ['refuse_delete', 'refuse_truncate', 'refuse_update']
  const tables = await owner.ownerSql`
    select from pg_class
    where relnamespace = 'token_ledger'::regnamespace and relkind in ('r', 'p')
      and relname ~ '^token_(event|family)'`
  // The two tables, their default partitions, and a month each from this one to three ahead.
  expect(tables).toHaveLength(2 * (1 + 1 + 4))
  expect(rows).toHaveLength(tables.length)
  for (const row of rows) {
    const own = row.table.startsWith('token_event')
      ? [
          'chain_event',
          'check_chained',
          'compare_event',
          'keep_open_families',
          ...guards,
          'suspect_replay',
        ]
      : ['expect_first_event', ...guards]
    expect(row).toMatchObject({ guards: own, enabled: ['A'] })
  }
})

test('a partition that is created later has them as well', async () => {
  await owner.ownerSql`select token_ledger.ensure_partitions(5)`
  const rows = await owner.ownerSql`
    select c.relname, count(t.oid)::int as guards
    from pg_class c
    left join pg_trigger t on t.tgrelid = c.oid and t.tgenabled = 'A'
    where c.relnamespace = 'token_ledger'::regnamespace and c.relispartition and c.relkind = 'r'
    group by c.relname`
  expect(rows).toHaveLength(2 * (1 + 6))
  for (const { relname, guards } of rows)
    expect({ relname, guards }).toEqual({ relname, guards: relname.includes('event') ? 8 : 4 })
})

test('LE-01 (ASVS 16.4.2): the service and the auditor have these rights on tables, and no others', async () => {
  const rows = await owner.ownerSql<{ grantee: string; name: string; rights: string }[]>`
    select a.grantee::regrole::text as grantee, n.nspname || '.' || c.relname as name,
      string_agg(lower(a.privilege_type), ' ' order by a.privilege_type) as rights
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    cross join aclexplode(c.relacl) a
    where n.nspname like 'token\_%' and a.grantee <> c.relowner
    group by 1, 2
    order by 1, 2`
  const app = 'token_ledger_app'
  const auditor = 'token_ledger_auditor'
  const audit = rows.filter(({ name }) => name.startsWith('token_audit.'))
  expect(new Set(audit.map(({ rights }) => rights))).toEqual(new Set(['select']))
  expect(new Set(audit.map(({ grantee }) => grantee))).toEqual(new Set([app, auditor]))
  const others = rows.filter(({ name }) => !name.startsWith('token_audit.'))
  expect(others.filter(({ grantee }) => grantee !== app)).toEqual([])
  const ledger = others.filter(({ name }) => /\.(log|open|token|user|signing)_\w+$/.test(name))
  expect(ledger.map(({ grantee, name, rights }) => [grantee, name, rights])).toEqual([
    [app, 'token_ledger.log_checkpoint', 'select'],
    [app, 'token_ledger.log_key', 'insert select'],
    [app, 'token_ledger.log_leaf', 'select'],
    [app, 'token_ledger.log_node', 'select'],
    [app, 'token_ledger.open_family', 'select'],
    [app, 'token_ledger.signing_key', 'delete insert select'],
    [app, 'token_ledger.signing_key_removal', 'select'],
    [app, 'token_ledger.token_event', 'select'],
    [app, 'token_ledger.token_family', 'select'],
    [app, 'token_ledger.user_account', 'insert select update'],
    [app, 'token_ledger.user_epoch', 'insert select update'],
    [app, 'token_ledger.user_subject', 'insert select'],
  ])
})

test('LE-01 (ASVS 16.4.2): the service may insert these columns of the ledger and update one that never changes', async () => {
  const rows = await owner.ownerSql<{ name: string; right: string; columns: string[] }[]>`
    select c.relname as name, lower(a.privilege_type) as right,
      array_agg(t.attname::text order by t.attname) as columns
    from pg_attribute t
    join pg_class c on c.oid = t.attrelid
    cross join aclexplode(t.attacl) a
    where c.relnamespace = 'token_ledger'::regnamespace and c.relname ~ '^token_(event|family)$'
    group by 1, 2
    order by 1, 2`
  expect([...rows]).toEqual([
    { name: 'token_event', right: 'insert', columns: eventColumns },
    {
      name: 'token_family',
      right: 'insert',
      columns: [
        'absolute_expires_at',
        'created_at',
        'device_name',
        'family_id',
        'transport',
        'user_id',
      ],
    },
    { name: 'token_family', right: 'update', columns: ['lock_mark'] },
  ])
})

test('LE-01 (ASVS 16.4.2): neither role can log in, and neither has more rights than it needs', async () => {
  const rows = await owner.ownerSql`
    select rolname, rolcanlogin, rolsuper, rolcreaterole, rolcreatedb, rolbypassrls, rolreplication
    from pg_roles
    where rolname in ('token_ledger_app', 'token_ledger_auditor')`
  expect(rows).toHaveLength(2)
  for (const { rolname: _, ...rights } of rows) expect(Object.values(rights)).not.toContain(true)
})

test('LE-15 (ASVS 8.2.1): every function looks names up where no caller can create any', async () => {
  const rows = await owner.ownerSql<FunctionRow[]>`
    select
      oid::regprocedure::text as name,
      prosecdef as "isDefiner",
      prosqlbody is not null as "isResolved",
      (select s from unnest(proconfig) s where s like 'search\\_path=%') as path
    from pg_proc
    where pronamespace::regnamespace::text like 'token\\_%'`
  expect(rows.filter(({ isDefiner }) => isDefiner).length).toBeGreaterThan(9)
  for (const { name, isDefiner, isResolved, path } of rows) {
    // Postgres resolved the names in the SQL of `return …` when the function was created.
    const expected = isResolved && !isDefiner ? null : 'search_path=pg_catalog, pg_temp'
    expect({ name, path }).toEqual({ name, path: expected })
  }
})

type FunctionRow = { name: string; isDefiner: boolean; isResolved: boolean; path: string | null }

test('LE-15 (ASVS 8.2.1): only the owner can attach a function of the ledger as a trigger', async () => {
  const rows = await owner.ownerSql<{ name: string; rights: string }[]>`
    select oid::regproc::text as name, proacl::text as rights
    from pg_proc
    where pronamespace::regnamespace::text like 'token\\_%' and prorettype = 'trigger'::regtype`
  expect(rows.length).toBeGreaterThan(4)
  const [{ me }] = (await owner.ownerSql`select current_user as me`) as any
  for (const { name, rights } of rows)
    expect({ name, rights }).toEqual({ name, rights: `{${me}=X/${me}}` })
})

test('LE-15 (ASVS 8.2.1): after a migration PUBLIC can create nothing in the database', async () => {
  await using migrated = await emptyDatabase()
  await migrate(migrated.url)
  const [rights] = await migrated.ownerSql`
    select
      has_database_privilege('public', current_database(), 'temporary') as temporary,
      has_database_privilege('public', current_database(), 'create') as schemas,
      (select array_agg(nspname::text) from pg_namespace
        where has_schema_privilege('public', oid, 'create')) as in_schemas,
      (select array_agg(role) from unnest(array['token_ledger_app', 'token_ledger_auditor']) role
        where has_database_privilege(role, current_database(), 'temporary')) as roles`
  expect(rights).toEqual({ temporary: false, schemas: false, in_schemas: null, roles: null })
})

test('LE-03: no foreign key with a delete action refers to the ledger', async () => {
  const rows = await owner.ownerSql`
    select conname from pg_constraint
    where contype = 'f' and connamespace = 'token_ledger'::regnamespace`
  expect(rows).toEqual([])
})
