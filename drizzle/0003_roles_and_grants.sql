-- Who may do what. The server runs as token_ledger_app; token_ledger_auditor reads token_audit and nothing else.
-- Roles belong to the whole cluster: another database of it may have made them, or be making them now.
do $$
declare
  name text;
begin
  foreach name in array array['token_ledger_app', 'token_ledger_auditor'] loop
    begin
      if not exists (select from pg_roles where rolname = name) then
        execute format('create role %I nologin', name);
      end if;
    exception when duplicate_object or unique_violation then
      null;
    end;
    -- So that the owner's connection can become them; a superuser can without.
    if not pg_has_role(current_user, name, 'member') then
      execute format('grant %I to %I', name, current_user);
    end if;
  end loop;
end
$$;
--> statement-breakpoint
create schema token_audit;
--> statement-breakpoint
grant usage on schema token_ledger, token_audit to token_ledger_app;
--> statement-breakpoint
grant usage on schema token_audit to token_ledger_auditor;
--> statement-breakpoint
-- Column by column, so that not even a bug of ours can set a hash or a txid.
grant select,
  insert (family_id, seq, kind, generation, occurred_at, expires_at, user_id, absolute_expires_at, transport,
    token_hash, salt, attempt_hash, presented_generation, reason, actor_user_id, ip, user_agent, origin_salt)
on token_ledger.token_event to token_ledger_app;
--> statement-breakpoint
-- `for update` asks for the right to update a column; lock_mark is that column, and a trigger keeps its value.
grant select,
  insert (family_id, user_id, transport, device_name, created_at, absolute_expires_at),
  update (lock_mark)
on token_ledger.token_family to token_ledger_app;
--> statement-breakpoint
grant select, insert, update on token_ledger.user_epoch to token_ledger_app;
--> statement-breakpoint
grant select, insert, update on token_ledger.user_account to token_ledger_app;
--> statement-breakpoint
grant select, insert, update, delete on token_ledger.signing_key to token_ledger_app;
--> statement-breakpoint
grant select, insert, update, delete on token_ledger.rate_limit to token_ledger_app;
--> statement-breakpoint
revoke all on function token_ledger.ensure_partitions(integer) from public;
--> statement-breakpoint
grant execute on function token_ledger.ensure_partitions(integer) to token_ledger_app;
--> statement-breakpoint
-- So that /readyz can tell whether the schema is the one it was written for.
grant usage on schema token_ledger_migrations to token_ledger_app;
--> statement-breakpoint
grant select on token_ledger_migrations.applied to token_ledger_app;
