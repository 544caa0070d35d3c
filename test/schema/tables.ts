import type { TransactionSql } from 'postgres'
import { format, formatLines } from './format.ts'

/** Tables with their constraints and indexes, and default partitions. Partitions of months are left out. */
export async function readTables(tx: TransactionSql): Promise<[key: string, sql: string][]> {
  const tables = await tx<{ name: string; key: string | null; parent: string | null }[]>`
    select
      c.oid::regclass::text as name,
      pg_get_partkeydef(c.oid) as key,
      i.inhparent::regclass::text as parent
    from pg_class c
    left join pg_inherits i on i.inhrelid = c.oid
    where c.relnamespace::regnamespace::text like 'token\\_%'
      and c.relkind in ('r', 'p')
      and coalesce(pg_get_expr(c.relpartbound, c.oid), 'DEFAULT') = 'DEFAULT'`
  return Promise.all(
    tables.map(async ({ name, key, parent }): Promise<[string, string]> => {
      const parts = [...(await readColumns(tx, name)), ...(await readConstraints(tx, name))]
      const by = key === null ? '' : `\npartition by ${key.toLowerCase()}`
      const create =
        parent === null
          ? `create table ${name} (\n  ${parts.join(',\n  ')}\n)${by};`
          : `create table ${name} partition of ${parent} default;`
      const options = await readColumnOptions(tx, name)
      const indexes = parent === null ? await readIndexes(tx, name) : []
      return [`table ${name}`, [create, ...options, ...indexes].join('\n')]
    }),
  )
}

async function readColumns(tx: TransactionSql, table: string): Promise<string[]> {
  const rows = await tx<{ name: string; type: string; rest: string }[]>`
    select
      quote_ident(a.attname) as name,
      case when s.is_serial then 'serial' else format_type(a.atttypid, a.atttypmod) end as type,
      concat_ws(' ',
        case when a.attnotnull then 'not null' end,
        case when not s.is_serial then 'default ' || pg_get_expr(d.adbin, d.adrelid) end,
        case a.attidentity when 'a' then 'generated always as identity' end) as rest
    from pg_attribute a
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    cross join lateral (
      select
        pg_get_serial_sequence(${table}, a.attname) is not null and a.attidentity = '' as is_serial
    ) s
    where a.attrelid = ${table}::regclass and a.attnum > 0 and not a.attisdropped
    order by a.attnum`
  return rows.map(({ name, type, rest }) => format(`${name} ${type} ${rest}`, 2))
}

async function readConstraints(tx: TransactionSql, table: string): Promise<string[]> {
  const rows = await tx<{ sql: string }[]>`
    select 'constraint ' || quote_ident(conname) || ' ' || pg_get_constraintdef(oid, true) as sql
    from pg_constraint
    where conrelid = ${table}::regclass and contype in ('p', 'u', 'c', 'f', 'x')
    order by array_position(array['p', 'u', 'f', 'x', 'c'], contype::text), conname`
  return rows.map((row) => format(row.sql, 2))
}

async function readColumnOptions(tx: TransactionSql, table: string): Promise<string[]> {
  const rows = await tx<{ name: string; options: string }[]>`
    select quote_ident(attname) as name, array_to_string(attoptions, ', ') as options
    from pg_attribute
    where attrelid = ${table}::regclass and attoptions is not null
    order by attnum`
  return rows.map(({ name, options }) => {
    const set = options.replaceAll('=', ' = ')
    return `alter table ${table} alter column ${name} set (${set});`
  })
}

/** Except those that belong to a constraint. */
async function readIndexes(tx: TransactionSql, table: string): Promise<string[]> {
  const rows = await tx<{ sql: string }[]>`
    select pg_get_indexdef(i.indexrelid, 0, true) as sql
    from pg_index i
    where i.indrelid = ${table}::regclass
      and not exists (select from pg_constraint c where c.conindid = i.indexrelid)
    order by i.indexrelid::regclass::text`
  return rows.map((row) => {
    const short = row.sql.replace(' ON ONLY ', ' ON ').replace(' USING btree', '')
    return `${formatLines(short, [' WITH ', ' WHERE '])};`
  })
}
