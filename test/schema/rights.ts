import type { TransactionSql } from 'postgres'
import { format } from './format.ts'

const width = 100

type Grant = {
  readonly grantee: string
  readonly kind: 'schema' | 'table' | 'function'
  /** Such as `insert (family_id, seq)`. */
  readonly privileges: readonly string[]
  readonly names: readonly string[]
}

/** Grants, and functions that were revoked from PUBLIC, by role; `public` first. */
export async function readRights(tx: TransactionSql): Promise<Map<string, string[]>> {
  const closed = await tx<{ name: string }[]>`
    select p.oid::regproc::text as name
    from pg_proc p
    where p.pronamespace::regnamespace::text like 'token\\_%'
      and p.proacl is not null
      and not exists (select from aclexplode(p.proacl) where grantee = 0)
    order by 1`
  const fromPublic = { verb: 'revoke', on: 'on function', who: 'from public' }
  const names = closed.map(({ name }) => name)
  const revoked = statement(fromPublic, ['all'], names)
  const rights = new Map([['public', [revoked]]])
  for (const grant of await readGrants(tx)) {
    const { grantee, kind } = grant
    const on = kind === 'table' ? 'on' : `on ${kind}`
    const toRole = { verb: 'grant', on, who: `to ${grantee}` }
    const granted = statement(toRole, grant.privileges, grant.names)
    rights.set(grantee, [...(rights.get(grantee) ?? []), granted])
  }
  return rights
}

/** On one line if it fits there. */
function statement(
  { verb, on, who }: { verb: string; on: string; who: string },
  privileges: readonly string[],
  names: readonly string[],
): string {
  const whole = `${verb} ${privileges.join(', ')} ${on} ${names.join(', ')} ${who};`
  if (whole.length <= width) return whole
  if (names.length > 1)
    return `${verb} ${privileges.join(', ')} ${on}\n  ${names.join(',\n  ')}\n${who};`
  const [first, ...others] = privileges
  const what = [first, ...others.map((privilege) => format(privilege, 2))].join(',\n  ')
  return `${verb} ${what}\n${on} ${names[0]} ${who};`
}

/** Objects of one kind with the same privileges share a row. */
function readGrants(tx: TransactionSql): Promise<Grant[]> {
  return tx<Grant[]>`
    with granted as (
      select a.grantee, 'schema' as kind, n.nspname::text as name, a.privilege_type, null as columns, n.nspowner as owner
      from pg_namespace n, aclexplode(n.nspacl) a
      where n.nspname like 'token\\_%'
      union all
      select a.grantee, 'table', c.oid::regclass::text, a.privilege_type, null, c.relowner
      from pg_class c, aclexplode(c.relacl) a
      where c.relnamespace::regnamespace::text like 'token\\_%'
      union all
      select
        a.grantee, 'table', c.oid::regclass::text, a.privilege_type,
        string_agg(quote_ident(t.attname), ', ' order by t.attnum), c.relowner
      from pg_class c join pg_attribute t on t.attrelid = c.oid, aclexplode(t.attacl) a
      where c.relnamespace::regnamespace::text like 'token\\_%'
      group by 1, 2, 3, 4, c.relowner
      union all
      select a.grantee, 'function', p.oid::regproc::text, a.privilege_type, null, p.proowner
      from pg_proc p, aclexplode(p.proacl) a
      where p.pronamespace::regnamespace::text like 'token\\_%'
    ),
    held as (
      select
        grantee, kind, name,
        array_agg(
          lower(privilege_type) || coalesce(' (' || columns || ')', '')
          order by array_position(array['SELECT', 'INSERT', 'UPDATE', 'DELETE'], privilege_type)) as privileges
      from granted
      where grantee <> owner
      group by 1, 2, 3
    )
    select
      case grantee when 0 then 'public' else grantee::regrole::text end as grantee,
      kind,
      privileges,
      array_agg(name order by name) as names
    from held
    group by 1, 2, 3
    order by 1, array_position(array['schema', 'table', 'function'], kind), names`
}
