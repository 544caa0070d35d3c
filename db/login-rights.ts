import type { Database } from './connection/connect.ts'

/** What the login of a connection can reach, whatever role the connection has taken. */
export type LoginRights = {
  readonly name: string
  /** It is a superuser, or can become one, or can read, write or run files of the server. */
  readonly isSuperuser: boolean
  /** It owns the ledger or its database, or can take a role that does: it can disable the guards. */
  readonly ownsLedger: boolean
}

/**
 * Reads the rights of the login. A membership counts if the login can take the role (`SET`), has its rights (`INHERIT`),
 * or can grant itself either (`ADMIN`, which for a superuser only superusers may use). Before Postgres 16 every
 * membership allows both.
 */
export async function readLoginRights({ statements: sql }: Database): Promise<LoginRights> {
  const [rights] = await sql<LoginRights[]>`
    with recursive reachable (oid) as (
      select oid from pg_roles where rolname = session_user
      union
      select m.roleid
      from reachable r
      join pg_auth_members m on m.member = r.oid
      join pg_roles granted on granted.oid = m.roleid
      where coalesce((to_jsonb(m) ->> 'set_option')::boolean, true)
        or coalesce((to_jsonb(m) ->> 'inherit_option')::boolean, true)
        or m.admin_option and not granted.rolsuper
    ),
    owner (oid) as (
      select datdba from pg_database where datname = current_database()
      union
      select nspowner from pg_namespace where nspname in ('token_ledger', 'token_audit')
      union
      select relowner from pg_class where relnamespace = 'token_ledger'::regnamespace
      union
      select proowner from pg_proc where pronamespace = 'token_ledger'::regnamespace
    ),
    found as (
      select
        exists (
          select
          from reachable
          join pg_roles using (oid)
          where rolsuper or rolname in (
            'pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files')
        ) as is_superuser,
        exists (select from reachable join owner using (oid)) as owns_ledger
    )
    select
      session_user::text as name,
      is_superuser as "isSuperuser",
      is_superuser or owns_ledger as "ownsLedger"
    from found`
  if (rights === undefined) throw new Error('the login of this connection does not exist')
  return rights
}

/** Rights of PUBLIC with which any login of the cluster can enter the database, or create objects in it. */
export async function readPublicRights({ statements: sql }: Database): Promise<string[]> {
  const rows = await sql<{ right: string }[]>`
    select format('%s on database %I', upper(privilege), current_database()) as right
    from unnest(array['connect', 'temporary']) privilege
    where has_database_privilege('public', current_database(), privilege)
    union all
    select 'CREATE on schema public'
    from pg_namespace
    where nspname = 'public' and has_schema_privilege('public', oid, 'create')`
  return rows.map(({ right }) => right)
}
