import type { Sql, TransactionSql } from 'postgres'
import { format, formatLines } from './format.ts'
import { readRights } from './rights.ts'
import { readTables } from './tables.ts'

/** The schemas of the ledger as statements. */
export type Catalogue = {
  /** By kind and name, such as `table token_ledger.token_event`. */
  readonly objects: ReadonlyMap<string, string>
  readonly triggers: readonly Trigger[]
  /** By role; `public` first. */
  readonly rights: ReadonlyMap<string, readonly string[]>
}

export type Trigger = {
  readonly table: string
  readonly function: string
  readonly name: string
  readonly isAlways: boolean
  readonly sql: string
}

/** Reads the schemas whose names begin with `token_`, except the partitions of months. */
export function readCatalogue(sql: Sql): Promise<Catalogue> {
  return sql.begin(async (tx) => {
    // Fixed, because Postgres qualifies only names outside of the path, and prints constants in these styles.
    await tx`set local search_path = pg_catalog`
    await tx`set local intervalstyle = 'postgres'`
    await tx`set local timezone = 'UTC'`
    const objects = new Map([
      ...(await readRoles(tx)),
      ...(await readSchemas(tx)),
      ...(await readFunctions(tx)),
      ...(await readTables(tx)),
      ...(await readViews(tx)),
    ])
    return { objects, triggers: await readTriggers(tx), rights: await readRights(tx) }
  })
}

type Entry = [key: string, sql: string]

/** Roles with rights that the owner granted in this database. */
async function readRoles(tx: TransactionSql): Promise<Entry[]> {
  const rows = await tx<{ name: string; login: string }[]>`
    select r.rolname as name, case when r.rolcanlogin then 'login' else 'nologin' end as login
    from pg_roles r
    where exists (
      select
      from pg_shdepend d
      join pg_database on pg_database.oid = d.dbid and datname = current_database()
      where d.refclassid = 'pg_authid'::regclass and d.refobjid = r.oid and d.deptype = 'a'
    )`
  return rows.map(({ name, login }) => [`role ${name}`, `create role ${name} ${login};`])
}

async function readSchemas(tx: TransactionSql): Promise<Entry[]> {
  const rows = await tx<{ name: string }[]>`
    select nspname as name from pg_namespace where nspname like 'token\\_%'`
  return rows.map(({ name }) => [`schema ${name}`, `create schema ${name};`])
}

async function readFunctions(tx: TransactionSql): Promise<Entry[]> {
  const rows = await tx<FunctionRow[]>`
    select
      p.oid::regproc::text as name,
      pg_get_function_arguments(p.oid) as arguments,
      pg_get_function_result(p.oid) as result,
      concat_ws(' ',
        l.lanname,
        case p.provolatile when 'i' then 'immutable' when 's' then 'stable' end,
        case p.proparallel when 's' then 'parallel safe' when 'r' then 'parallel restricted' end,
        case when p.proisstrict then 'strict' end,
        case when p.prosecdef then 'security definer' end) as attributes,
      p.proconfig as settings,
      p.prosrc as source,
      pg_get_function_sqlbody(p.oid) as expression
    from pg_proc p
    join pg_language l on l.oid = p.prolang
    where p.pronamespace::regnamespace::text like 'token\\_%'
    order by p.oid::regprocedure::text`
  return rows.map((row) => [`function ${row.name}`, functionSql(row)])
}

type FunctionRow = {
  readonly name: string
  readonly arguments: string
  readonly result: string
  readonly attributes: string
  readonly settings: readonly string[] | null
  readonly source: string
  /** Null unless Postgres keeps the function parsed (`return …`) and has no source. */
  readonly expression: string | null
}

function functionSql(row: FunctionRow): string {
  const settings = (row.settings ?? []).map((setting) => {
    const [name = '', value = ''] = setting.split(/=(.*)/s)
    return `set ${name.toLowerCase()} = ${/^[a-z_, ]+$/.test(value) ? value : `'${value}'`}`
  })
  return [
    format(`create function ${row.name}(${row.arguments})`),
    format(`returns ${row.result}`),
    `language ${row.attributes}`,
    ...settings,
    row.expression === null ? `as $$${row.source}$$;` : `${format(row.expression)};`,
  ].join('\n')
}

async function readViews(tx: TransactionSql): Promise<Entry[]> {
  const rows = await tx<{ name: string; query: string }[]>`
    select oid::regclass::text as name, rtrim(pg_get_viewdef(oid, true), ';') as query
    from pg_class
    where relnamespace::regnamespace::text like 'token\\_%' and relkind = 'v'`
  return rows.map(({ name, query }) => [
    `view ${name}`,
    `create view ${name} as\n${format(query)};`,
  ])
}

/** Except those that a partition inherits from its table. */
async function readTriggers(tx: TransactionSql): Promise<Trigger[]> {
  const rows = await tx<
    { table: string; function: string; name: string; isAlways: boolean; sql: string }[]
  >`
    select
      tgrelid::regclass::text as table,
      tgfoid::regproc::text as function,
      quote_ident(tgname) as name,
      tgenabled = 'A' as "isAlways",
      pg_get_triggerdef(t.oid, true) as sql
    from pg_trigger t
    join pg_class c on c.oid = t.tgrelid
    where c.relnamespace::regnamespace::text like 'token\\_%'
      and not tgisinternal
      and tgparentid = 0
      and coalesce(pg_get_expr(c.relpartbound, c.oid), 'DEFAULT') = 'DEFAULT'
    order by 1, 3`
  return rows.map(({ table, name, isAlways, ...row }) => {
    const lines = formatLines(row.sql, [' FOR EACH ', ' WHEN ', '(?<=[)]) EXECUTE '])
    // The parentheses of a condition are part of the statement, unlike those of an expression.
    const create = `${lines.replace(/^when (?!\()(.*)$/m, 'when ($1)')};`
    const always = `alter table ${table} enable always trigger ${name};`
    return {
      table: `table ${table}`,
      function: `function ${row.function}`,
      name,
      isAlways,
      sql: isAlways ? `${create}\n${always}` : create,
    }
  })
}
