-- Only logins that use this database may connect to it. Older processes may run beside this: yes, because a login with rights in the database keeps the right to connect.

-- Takes CONNECT on this database from PUBLIC, because roles belong to the cluster: the login of another database's ledger
-- may be a member of the roles of this one. First grants it to the logins that need it: those that own something here or
-- have a right, may start replication, or are members of a predefined role such as pg_monitor or of a role with rights
-- here. Two kinds of member are left out. The owner of another database where the role has rights, too, has that role for
-- its own database. And of a ledger that is not in use yet, no login but its owner needs the roles. Returns what PUBLIC
-- keeps because the caller may not revoke it. `migrate` calls this each time, because a dump does not carry the rights on
-- its database.
create function token_ledger.revoke_connect_from_public(is_in_use boolean) returns setof text
language plpgsql
set search_path = pg_catalog, pg_temp
set client_min_messages = error
as $$
declare
  here constant oid := (select oid from pg_database where datname = current_database());
  login name;
begin
  if not has_database_privilege('public', current_database(), 'connect') then
    return;
  end if;
  for login in
    with used as (
      select distinct d.refobjid as role
      from pg_shdepend d
      where d.dbid = here and d.refclassid = 'pg_authid'::regclass and d.deptype in ('o', 'a')
    ),
    -- Of this ledger: its owner is not among them.
    ledger as (
      select a.grantee as role
      from pg_namespace n, aclexplode(n.nspacl) a
      where n.nspname = 'token_audit' and a.grantee <> n.nspowner
    ),
    elsewhere as (
      select distinct d.refobjid as role, o.datdba as owner
      from pg_shdepend d
      join pg_database o on o.oid = d.dbid
      where d.dbid <> here and d.refclassid = 'pg_authid'::regclass and d.deptype = 'a'
    ),
    opening as (
      select u.role
      from used u
      where is_in_use or u.role not in (select l.role from ledger l)
      union
      select oid from pg_roles where oid < 16384 and not rolsuper
    )
    select r.rolname
    from pg_roles r
    where r.rolcanlogin and not r.rolsuper
      and (
        r.rolreplication
        or r.oid in (select u.role from used u)
        or exists (
          select
          from opening o
          where pg_has_role(r.oid, o.role, 'member') and (o.role, r.oid) not in (select e.role, e.owner from elsewhere e)
        )
      )
  loop
    execute format('grant connect on database %I to %I', current_database(), login);
  end loop;
  execute format('revoke connect on database %I from public', current_database());
  if has_database_privilege('public', current_database(), 'connect') then
    return next format('CONNECT on database %I', current_database());
  end if;
exception when insufficient_privilege then
  return next format('CONNECT on database %I', current_database());
end
$$;
--> statement-breakpoint
revoke all on function token_ledger.revoke_connect_from_public(boolean) from public;
