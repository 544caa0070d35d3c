-- Only logins that use this ledger may connect to its database. Older processes may run beside this: yes, because a login that has any right in the database keeps the right to connect.

-- Takes CONNECT on this database from PUBLIC, because roles belong to the cluster: the login of another database's ledger
-- may be a member of the roles of this one. First grants it to logins that own something here or have rights of their
-- own. With keep_members, as in a ledger that is in use, also to members of roles that have rights here, except owners of
-- other databases where the same role has rights; and to members of the predefined roles, such as pg_monitor. Returns
-- what PUBLIC keeps because the caller may not revoke it. `migrate` calls this each time, because a dump does not carry
-- the rights on its database.
create function token_ledger.revoke_connect_from_public(keep_members boolean) returns setof text
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
    shared as (
      select distinct d.refobjid as role, o.datdba as owner
      from pg_shdepend d
      join pg_database o on o.oid = d.dbid
      where d.dbid <> here and d.refclassid = 'pg_authid'::regclass and d.deptype = 'a'
    )
    select r.rolname
    from pg_roles r
    where r.rolcanlogin and not r.rolsuper
      and (
        r.oid in (select role from used)
        or keep_members and (
          r.rolreplication
          or exists (
            select
            from used u
            where pg_has_role(r.oid, u.role, 'member')
              and (u.role, r.oid) not in (select s.role, s.owner from shared s)
          )
          or exists (select from pg_roles p where p.oid < 16384 and not p.rolsuper and pg_has_role(r.oid, p.oid, 'member'))
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
