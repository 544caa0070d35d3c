-- The functions resolve names only where no caller can create any. Older processes may run beside this: yes, because the functions keep their names, arguments and results.

-- Postgres searches pg_temp first for types and tables unless the path names it. With `pg_catalog, token_ledger`, the
-- `text` of a function that runs as the owner was the domain pg_temp.text of its caller, whose CHECK ran as the owner.
-- The functions without a path here are SQL with `return`: Postgres resolved their names when they were created.
alter function token_ledger.chain_event() set search_path = pg_catalog, pg_temp;
--> statement-breakpoint
alter function token_ledger.keep_an_admin() set search_path = pg_catalog, pg_temp;
--> statement-breakpoint
alter function token_ledger.ensure_partitions(integer) set search_path = pg_catalog, pg_temp;
--> statement-breakpoint
alter function token_ledger.guard_partition(text) set search_path = pg_catalog, pg_temp;
--> statement-breakpoint
alter function token_ledger.expect_long_families(text) set search_path = pg_catalog, pg_temp;
--> statement-breakpoint
alter function token_ledger.check_families(uuid, uuid) set search_path = pg_catalog, pg_temp;
--> statement-breakpoint
alter function token_audit.session_state_at(uuid, timestamptz) set search_path = pg_catalog, pg_temp;
--> statement-breakpoint
alter function token_audit.sessions_at(timestamptz) set search_path = pg_catalog, pg_temp;
--> statement-breakpoint
alter function token_audit.verify_family(uuid) set search_path = pg_catalog, pg_temp;
--> statement-breakpoint
alter function token_audit.verify_ledger() set search_path = pg_catalog, pg_temp;
--> statement-breakpoint
-- These run with the rights of the role that calls them, which can be the owner.
alter function token_ledger.append_unless_changed(uuid[], json) set search_path = pg_catalog, pg_temp;
--> statement-breakpoint
alter function token_ledger.erase_traces(uuid) set search_path = pg_catalog, pg_temp;
--> statement-breakpoint
alter function token_ledger.closed_months(timestamptz) set search_path = pg_catalog, pg_temp;
--> statement-breakpoint
alter function token_ledger.refuse_change() set search_path = pg_catalog, pg_temp;
--> statement-breakpoint
alter function token_ledger.refuse_event_change() set search_path = pg_catalog, pg_temp;
--> statement-breakpoint
alter function token_ledger.refuse_family_change() set search_path = pg_catalog, pg_temp;
--> statement-breakpoint
-- A role that may execute a trigger function may attach it to a table of its own, and the casts and domains of that
-- table's columns then run as the owner. Triggers that exist need no such right.
revoke all on function
  token_ledger.chain_event(),
  token_ledger.keep_an_admin(),
  token_ledger.refuse_change(),
  token_ledger.refuse_event_change(),
  token_ledger.refuse_family_change()
from public;
--> statement-breakpoint
-- Takes from PUBLIC what lets any login create functions, types and tables: TEMPORARY on this database and CREATE on
-- the schema public. Returns what PUBLIC keeps because the caller may not revoke it. `migrate` calls this each time,
-- because a dump does not carry the rights on its database.
create function token_ledger.revoke_create_from_public() returns setof text
language plpgsql
set search_path = pg_catalog, pg_temp
set client_min_messages = error
as $$
declare
  has_public_schema boolean := to_regnamespace('public') is not null;
begin
  if has_database_privilege('public', current_database(), 'temporary') then
    begin
      execute format('revoke temporary on database %I from public', current_database());
    exception when insufficient_privilege then null;
    end;
  end if;
  if has_public_schema and has_schema_privilege('public', 'public', 'create') then
    begin
      revoke create on schema public from public;
    exception when insufficient_privilege then null;
    end;
  end if;

  if has_database_privilege('public', current_database(), 'temporary') then
    return next format('TEMPORARY on database %I', current_database());
  end if;
  if has_public_schema and has_schema_privilege('public', 'public', 'create') then
    return next 'CREATE on schema public';
  end if;
end
$$;
--> statement-breakpoint
revoke all on function token_ledger.revoke_create_from_public() from public;
--> statement-breakpoint
select token_ledger.revoke_create_from_public();
--> statement-breakpoint
-- From Postgres 16 on, a login with CREATEROLE may administer the roles that it made in 0003, but not become them.
do $$
declare
  name text;
begin
  if current_setting('server_version_num')::integer < 160000 then
    return;
  end if;
  foreach name in array array['token_ledger_app', 'token_ledger_auditor'] loop
    begin
      if not pg_has_role(current_user, name, 'SET') then
        execute format('grant %I to %I', name, current_user);
      end if;
    exception when insufficient_privilege then null;
    end;
  end loop;
end
$$;
