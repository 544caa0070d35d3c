-- The ledger defends itself: what is appended must continue a legal history, and nothing is ever changed.
-- SQLSTATEs: TL001 append-only, TL002 illegal history.

-- A field of a hashed record: its length, then its bytes; -1 for null. No two records share a form.
create function token_ledger.field(value bytea) returns bytea
language sql immutable parallel safe
return case when value is null then '\xffffffff'::bytea else int4send(length(value)) || value end;
--> statement-breakpoint
create function token_ledger.origin_hash(salt bytea, ip inet, user_agent text) returns bytea
language sql immutable parallel safe
return sha256(
  token_ledger.field(salt)
  || token_ledger.field(textsend(host(ip)))
  || token_ledger.field(textsend(user_agent))
);
--> statement-breakpoint
-- The chain. The version names this very list of fields; another list is another version.
create function token_ledger.event_hash(e token_ledger.token_event) returns bytea
language sql immutable parallel safe
return sha256(
  textsend('token-ledger/v1')
  || uuid_send(e.family_id)
  || int4send(e.seq)
  || coalesce(e.prev_hash, decode(repeat('00', 32), 'hex'))
  || token_ledger.field(textsend(e.kind))
  || token_ledger.field(int4send(e.generation))
  || token_ledger.field(timestamptz_send(e.occurred_at))
  || token_ledger.field(timestamptz_send(e.expires_at))
  || token_ledger.field(timestamptz_send(e.absolute_expires_at))
  || token_ledger.field(uuid_send(e.user_id))
  || token_ledger.field(textsend(e.transport))
  || token_ledger.field(e.token_hash)
  || token_ledger.field(e.salt)
  || token_ledger.field(e.attempt_hash)
  || token_ledger.field(int4send(e.presented_generation))
  || token_ledger.field(textsend(e.reason))
  || token_ledger.field(uuid_send(e.actor_user_id))
  || token_ledger.field(e.origin_hash)
);
--> statement-breakpoint
-- Checks that the new row continues its family's history, then chains it.
-- force_generic_plan: planning over the partitions costs ten times what the look-up does.
--
-- An event's txid is never below that of the event before it. A transaction that began early may write late: it
-- takes its id, waits for a family, and appends after an event of a younger one. Readers that follow (txid,
-- family_id, seq) would be given the two the wrong way round. The younger one has committed by then, so the larger
-- id is below the horizon only when both are over.
create function token_ledger.chain_event() returns trigger
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
create trigger chain_event before insert on token_ledger.token_event
for each row execute function token_ledger.chain_event();
--> statement-breakpoint
alter table token_ledger.token_event enable always trigger chain_event;
--> statement-breakpoint
create function token_ledger.refuse_change() returns trigger
language plpgsql
as $$
begin
  raise exception '%.% is append-only: % refused', tg_table_schema, tg_table_name, lower(tg_op)
    using errcode = 'TL001';
end
$$;
--> statement-breakpoint
-- One change is let through: erasing where a person was, with the salt that would let one guess it.
create function token_ledger.refuse_event_change() returns trigger
language plpgsql
as $$
declare
  erased token_ledger.token_event := old;
begin
  erased.ip := null;
  erased.user_agent := null;
  erased.origin_salt := null;
  if new is distinct from erased then
    raise exception '%.% is append-only: update refused', tg_table_schema, tg_table_name
      using errcode = 'TL001';
  end if;
  return new;
end
$$;
--> statement-breakpoint
create function token_ledger.refuse_family_change() returns trigger
language plpgsql
as $$
declare
  erased token_ledger.token_family := old;
begin
  erased.device_name := null;
  if new is distinct from erased then
    raise exception '%.% is written once: update refused', tg_table_schema, tg_table_name
      using errcode = 'TL001';
  end if;
  return new;
end
$$;
--> statement-breakpoint
create trigger refuse_update before update on token_ledger.token_event
for each row execute function token_ledger.refuse_event_change();
--> statement-breakpoint
create trigger refuse_delete before delete on token_ledger.token_event
for each row execute function token_ledger.refuse_change();
--> statement-breakpoint
create trigger refuse_truncate before truncate on token_ledger.token_event
for each statement execute function token_ledger.refuse_change();
--> statement-breakpoint
create trigger refuse_update before update on token_ledger.token_family
for each row execute function token_ledger.refuse_family_change();
--> statement-breakpoint
create trigger refuse_delete before delete on token_ledger.token_family
for each row execute function token_ledger.refuse_change();
--> statement-breakpoint
create trigger refuse_truncate before truncate on token_ledger.token_family
for each statement execute function token_ledger.refuse_change();
--> statement-breakpoint
-- "always": also under session_replication_role = replica, which would skip a plain trigger.
alter table token_ledger.token_event enable always trigger refuse_update;
--> statement-breakpoint
alter table token_ledger.token_event enable always trigger refuse_delete;
--> statement-breakpoint
alter table token_ledger.token_event enable always trigger refuse_truncate;
--> statement-breakpoint
alter table token_ledger.token_family enable always trigger refuse_update;
--> statement-breakpoint
alter table token_ledger.token_family enable always trigger refuse_delete;
--> statement-breakpoint
alter table token_ledger.token_family enable always trigger refuse_truncate;
