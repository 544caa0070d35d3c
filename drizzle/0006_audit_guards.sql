-- What admins did is append-only, too; one admin always remains; and the order of the ledger is the order of each family.

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
-- As in 0001, and: an event's txid is never below that of the event before it. A transaction that began
-- early may write late: it takes its id, waits for a family, and appends after an event of a younger one.
-- Readers that follow (txid, family_id, seq) would be given the two the wrong way round. The younger one has
-- committed by then, so the larger id is still below the horizon only when both are over.
create or replace function token_ledger.chain_event() returns trigger
language plpgsql security definer
set search_path = pg_catalog, token_ledger
set plan_cache_mode = force_generic_plan
as $$
declare
  last record;
  problem text;
begin
  select seq, kind, generation, occurred_at, absolute_expires_at, hash, txid into last
  from token_ledger.token_event
  where family_id = new.family_id
  order by seq desc
  limit 1;

  if last.kind = 'replayed' and new.kind = 'rotated' then
    select absolute_expires_at into last.absolute_expires_at
    from token_ledger.token_event
    where family_id = new.family_id and seq = 1;
  end if;

  problem := case
    when last.seq is null and new.seq <> 1 then 'a family begins with seq 1'
    when last.seq is null and new.kind <> 'issued' then 'a family begins with issued'
    when last.seq is null then null
    when new.seq <> last.seq + 1 then format('seq %s does not follow %s', new.seq, last.seq)
    when last.kind in ('reuse_detected', 'revoked') then format('the family is over: %s', last.kind)
    when new.kind = 'issued' then 'a family is issued once'
    when new.kind = 'rotated' and new.generation <> last.generation + 1
      then format('generation %s does not follow %s', new.generation, last.generation)
    when new.kind = 'rotated' and new.absolute_expires_at <> last.absolute_expires_at
      then 'a rotation does not move the end of the family'
    when new.kind <> 'rotated' and new.generation <> last.generation
      then format('%s may not change the generation %s to %s', new.kind, last.generation, new.generation)
    when new.occurred_at < last.occurred_at then 'an event may not come before the last one'
  end;
  if problem is not null then
    raise exception 'illegal history of family %: %', new.family_id, problem using errcode = 'TL002';
  end if;

  new.txid := greatest(pg_current_xact_id(), last.txid);
  new.origin_hash := token_ledger.origin_hash(new.origin_salt, new.ip, new.user_agent);
  new.prev_hash := last.hash;
  new.hash := token_ledger.event_hash(new);
  return new;
end
$$;
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
