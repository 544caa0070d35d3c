-- The database refuses each history that verification calls broken. Older processes may run beside this: yes, because they append only what verifies, a family and its first event in one transaction.

-- As in 0012, but for the checks of the instants, the origin, the family row, the expiry and the number of replays.
-- A rotation after a rotation, which is what nearly every event is, still reads one row.
create or replace function token_ledger.chain_event() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
declare
  last record;
  -- Of the newest token where the last event made none.
  token_seq integer;
  token_expires_at timestamptz;
  family_ends_at timestamptz;
  has_family boolean;
  is_of_family boolean;
  problem text;
begin
  select seq, kind, generation, occurred_at, expires_at, absolute_expires_at, hash, txid into last
  from token_ledger.token_event
  where family_id = new.family_id
  order by seq desc
  limit 1;

  if last.kind = 'replayed' then
    select seq, expires_at, absolute_expires_at into token_seq, token_expires_at, family_ends_at
    from token_ledger.token_event
    where family_id = new.family_id and kind in ('issued', 'rotated')
    order by seq desc
    limit 1;
  elsif last.seq is null then
    select
      (f.user_id, f.transport, f.created_at, f.absolute_expires_at)
        = (new.user_id, new.transport, new.occurred_at, new.absolute_expires_at)
    into is_of_family
    from token_ledger.token_family f
    where f.family_id = new.family_id;
    has_family := found;
  end if;

  problem := case
    when new.occurred_at < '1970-01-01T00:00:00Z'::timestamptz
      or new.occurred_at >= '10000-01-01T00:00:00Z'::timestamptz
      or new.absolute_expires_at >= '10000-01-01T00:00:00Z'::timestamptz
      then 'its instants are not between 1970 and 9999'
    when new.expires_at <= new.occurred_at then 'a token may not expire before it is made'
    when new.origin_salt is null and num_nonnulls(new.ip, new.user_agent) > 0 then 'ip or user_agent without their salt'
    when masklen(new.ip) < case family(new.ip) when 4 then 32 else 128 end then 'ip is a network'
    when last.seq is null and new.seq <> 1 then 'a family begins with seq 1'
    when last.seq is null and new.kind <> 'issued' then 'a family begins with issued'
    when last.seq is null and not has_family then 'the family row is missing'
    when last.seq is null and not is_of_family then 'the family row differs from the first event'
    when last.seq is null then null
    when new.seq <> last.seq + 1 then format('seq %s does not follow %s', new.seq, last.seq)
    when last.kind in ('reuse_detected', 'revoked') then format('the family is over: %s', last.kind)
    when new.kind = 'issued' then 'a family is issued once'
    when new.kind = 'rotated' and new.generation <> last.generation + 1
      then format('generation %s does not follow %s', new.generation, last.generation)
    when new.kind = 'rotated' and new.absolute_expires_at <> coalesce(family_ends_at, last.absolute_expires_at)
      then 'a rotation does not move the end of the family'
    when new.kind <> 'rotated' and new.generation <> last.generation
      then format('%s may not change the generation %s to %s', new.kind, last.generation, new.generation)
    when new.occurred_at < last.occurred_at then 'an event may not come before the last one'
    when new.occurred_at >= coalesce(token_expires_at, last.expires_at)
      then format('%s after the token had expired', new.kind)
    when new.kind = 'replayed' and new.seq - coalesce(token_seq, last.seq) > 20 then 'replayed more than 20 times'
  end;
  if problem is not null then
    raise exception 'illegal history of family %: %', new.family_id, problem using errcode = 'TL002';
  end if;

  new.txid := greatest(pg_current_xact_id(), last.txid);
  new.origin_hash := token_ledger.origin_hash(new.origin_salt, new.ip, new.user_agent);
  new.prev_hash := last.hash;
  new.hash := token_ledger.event_hash_of(
    new.family_id, new.seq, new.prev_hash, new.kind, new.generation, new.occurred_at, new.expires_at,
    new.absolute_expires_at, new.user_id, new.transport, new.token_hash, new.salt, new.attempt_hash,
    new.presented_generation, new.reason, new.actor_user_id, new.origin_hash);
  return new;
end
$$;
--> statement-breakpoint
-- When the transaction ends, because the family row comes before its first event.
create function token_ledger.expect_first_event() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
begin
  if not exists (select from token_ledger.token_event e where e.family_id = new.family_id and e.seq = 1) then
    raise exception 'illegal history of family %: event 1 is missing', new.family_id using errcode = 'TL002';
  end if;
  return null;
end
$$;
--> statement-breakpoint
revoke all on function token_ledger.expect_first_event() from public;
--> statement-breakpoint
create constraint trigger expect_first_event after insert on token_ledger.token_family
deferrable initially deferred
for each row execute function token_ledger.expect_first_event();
--> statement-breakpoint
alter table token_ledger.token_family enable always trigger expect_first_event;
