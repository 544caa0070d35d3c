-- What admins did is append-only, too, and one admin always remains.

create trigger refuse_change before update or delete on token_ledger.admin_action
for each row execute function token_ledger.refuse_change();
--> statement-breakpoint
create trigger refuse_truncate before truncate on token_ledger.admin_action
for each statement execute function token_ledger.refuse_change();
--> statement-breakpoint
alter table token_ledger.admin_action enable always trigger refuse_change;
--> statement-breakpoint
alter table token_ledger.admin_action enable always trigger refuse_truncate;
--> statement-breakpoint
-- TL003. The lock makes two admins who demote each other take turns; each statement in here sees what
-- was committed before it.
create function token_ledger.keep_an_admin() returns trigger
language plpgsql security definer
set search_path = pg_catalog, token_ledger
as $$
begin
  perform pg_advisory_xact_lock(hashtextextended('token_ledger.keep_an_admin', 0));
  if not exists (
    select
    from token_ledger.user_account
    where role = 'admin' and disabled_at is null and user_id <> old.user_id
  ) then
    raise exception 'user % is the last admin', old.user_id using errcode = 'TL003';
  end if;
  return new;
end
$$;
--> statement-breakpoint
create trigger keep_an_admin before update on token_ledger.user_account
for each row
when (old.role = 'admin' and old.disabled_at is null and (new.role <> 'admin' or new.disabled_at is not null))
execute function token_ledger.keep_an_admin();
--> statement-breakpoint
grant select, insert (actor_user_id, action, target_user_id, family_id, role, reason)
on token_ledger.admin_action to token_ledger_app;
--> statement-breakpoint
create view token_audit.admin_actions as
select
  a.action_id,
  a.occurred_at,
  a.actor_user_id,
  actor.email as actor_email,
  a.action,
  a.target_user_id,
  target.email as target_email,
  a.family_id,
  a.role,
  a.reason
from token_ledger.admin_action a
left join token_ledger.user_account actor on actor.user_id = a.actor_user_id
left join token_ledger.user_account target on target.user_id = a.target_user_id;
--> statement-breakpoint
grant select on token_audit.admin_actions to token_ledger_auditor, token_ledger_app;
