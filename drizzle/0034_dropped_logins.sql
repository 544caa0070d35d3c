-- A login that is dropped while a migration runs does not fail it. Older processes may run beside this: yes, because they do not call this function.

create or replace function token_ledger.revoke_connect_from_public(is_in_use boolean)
returns setof text
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
    begin
      execute format('grant connect on database %I to %I', current_database(), login);
    -- Another session drops the login at this moment.
    exception when undefined_object then null;
    end;
  end loop;
  execute format('revoke connect on database %I from public', current_database());
  if has_database_privilege('public', current_database(), 'connect') then
    return next format('CONNECT on database %I', current_database());
  end if;
exception when insufficient_privilege then
  return next format('CONNECT on database %I', current_database());
end
$$;
