import type { Sql } from 'postgres'

/**
 * Everything the catalogue says about the schemas of the ledger, as Postgres prints it, to compare two databases. It
 * shares no code with what writes `drizzle/schema.sql`.
 */
export async function readFacts(sql: Sql): Promise<string[]> {
  const rows = await sql<{ fact: string }[]>`
    with
    namespace as (select * from pg_namespace where nspname like 'token\\_%'),
    relation as (
      select c.*
      from pg_class c
      join namespace n on n.oid = c.relnamespace
      where c.relname !~ ${month}
    ),
    -- Includes kinds that the ledger does not use today, such as policies, rules, types and statistics.
    object as (
      select distinct o.type, o.identity
      from pg_depend d, pg_identify_object(d.classid, d.objid, d.objsubid) o
      where (d.refclassid = 'pg_namespace'::regclass and d.refobjid in (select oid from namespace))
        or (d.refclassid = 'pg_class'::regclass and d.refobjid in (select oid from relation))
    )
    select format('%s %s', type, identity) as fact
    from object
    where type not like 'toast%' and identity !~ ${month}
    union all
    select format('rights on schema %s: %s', nspname, ${rights(sql, 'nspacl', 'nspowner')})
    from namespace
    union all
    select pg_get_functiondef(p.oid) || ${rights(sql, 'proacl', 'proowner')}
    from pg_proc p
    join namespace n on n.oid = p.pronamespace
    union all
    select format('%s %s %s %s %s %s', oid::regclass, relkind, relpersistence, reloptions,
      pg_get_partkeydef(oid), ${rights(sql, 'relacl', 'relowner')})
      || case when relkind = 'v' then pg_get_viewdef(oid) else '' end
    from relation
    union all
    select format('column %s of %s: %s', a.attnum, r.oid::regclass,
      jsonb_build_array(a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated,
        a.attoptions, a.attstorage, a.attcompression, a.attcollation, pg_get_expr(d.adbin, d.adrelid),
        ${rights(sql, 'attacl', 'relowner')}))
    from relation r
    join pg_attribute a on a.attrelid = r.oid and a.attnum > 0
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    union all
    select format('constraint %s of %s: %s', c.conname, c.conrelid::regclass, pg_get_constraintdef(c.oid, true))
    from pg_constraint c
    join relation r on r.oid = c.conrelid
    union all
    -- Postgres names the indexes of a partition, in the order in which it makes them.
    select pg_get_indexdef(i.indexrelid)
    from pg_index i
    join relation r on r.oid = i.indrelid and not r.relispartition
    union all
    select format('%s enabled: %s', pg_get_triggerdef(t.oid), t.tgenabled)
    from pg_trigger t
    join relation r on r.oid = t.tgrelid
    union all
    select format('comment %s', description)
    from pg_description
    where objoid in (select oid from relation)
    order by 1`
  return rows.map(({ fact }) => fact)
}

const month = String.raw`token_(event|family)_\d{6}`

/** Of all roles but the owner. */
function rights(sql: Sql, acl: string, owner: string) {
  return sql`(
    case when ${sql(acl)} is null then 'default' else (
      select coalesce(string_agg(r::text, ' ' order by r::text), 'none')
      from unnest(${sql(acl)}) r
      where split_part(r::text, '=', 1) <> ${sql(owner)}::regrole::text
    ) end
  )`
}
