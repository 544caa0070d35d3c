-- The two roles, and that the login that migrates can take them on. `migrate` runs this each time: roles belong to the
-- cluster, so that no dump of a database has them.
do $$
declare
  name text;
  is_before_16 constant boolean := current_setting('server_version_num')::integer < 160000;
begin
  foreach name in array array['token_ledger_app', 'token_ledger_auditor'] loop
    begin
      if not exists (select from pg_roles where rolname = name) then
        execute format('create role %I nologin', name);
      end if;
    -- Another database of the cluster makes it at this moment.
    exception when duplicate_object or unique_violation then null;
    end;
    -- From Postgres 16 on, a login with CREATEROLE administers the roles that it makes, and may not take them on before
    -- it has granted itself that. A login that may not grant it can still migrate, and leave serving to another.
    begin
      if not pg_has_role(current_user, name, case when is_before_16 then 'member' else 'set' end) then
        execute format('grant %I to %I %s', name, current_user, case when not is_before_16 then 'with set true' end);
      end if;
    exception when insufficient_privilege then null;
    end;
  end loop;
end
$$;
