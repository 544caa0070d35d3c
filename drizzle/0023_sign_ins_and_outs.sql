-- A sign-in in one statement, and sign-outs in groups. Older processes may run beside this: yes, because they never call these functions.

-- As append_unless_changed, for sign-outs: followers are notified once, when the group commits.
create function token_ledger.append_ends(family_ids uuid[], events json) returns setof uuid
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
declare
  locked uuid[];
  ended uuid[];
  first_end_at timestamptz;
begin
  select array_agg(l.family_id) into locked
  from (
    select f.family_id
    from token_ledger.token_family f
    where f.family_id = any(family_ids)
    order by f.family_id
    for update skip locked
  ) l;

  -- In a statement of its own: the one that locks has not seen what others appended before it had the lock.
  with appended as (
    insert into token_ledger.token_event (
      family_id, seq, kind, generation, occurred_at, reason, actor_user_id, ip, user_agent, origin_salt)
    select
      e.family_id, e.seq, 'revoked', e.generation, e.occurred_at, e.reason, e.actor_user_id, e.ip, e.user_agent,
      e.origin_salt
    from json_to_recordset(events) as e(
      family_id uuid, seq integer, generation integer, occurred_at timestamptz, reason text, actor_user_id uuid,
      ip inet, user_agent text, origin_salt bytea)
    where e.family_id = any(locked)
      and e.seq - 1 = (
        select last.seq
        from token_ledger.token_event last
        where last.family_id = e.family_id
        order by last.seq desc
        limit 1
      )
    returning family_id, occurred_at
  )
  select array_agg(a.family_id), min(a.occurred_at) into ended, first_end_at
  from appended a;

  -- As notifyFamilyEnds in db/ledger/ends.ts.
  if first_end_at is not null then
    perform pg_notify('token_ledger_ends', (extract(epoch from first_end_at) * 1000)::bigint::text);
  end if;
  return query select unnest(ended);
end
$$;
--> statement-breakpoint
revoke all on function token_ledger.append_ends(uuid[], json) from public;
--> statement-breakpoint
grant execute on function token_ledger.append_ends(uuid[], json) to token_ledger_app;
--> statement-breakpoint
create function token_ledger.begin_family(beginning json)
returns table (outcome text, family_id uuid, began_at timestamptz)
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
declare
  b record;
  ends_at timestamptz;
begin
  select * into b
  from json_to_record(beginning) as r(
    user_id uuid, epoch integer, max_open integer, random_id uuid, transport text, device_name text,
    idle_ms float8, absolute_ms float8, token_hash bytea, ip inet, user_agent text, origin_salt bytea);

  insert into token_ledger.user_epoch (user_id)
  values (b.user_id)
  on conflict (user_id) do nothing;
  perform from token_ledger.user_epoch u where u.user_id = b.user_id for update;

  -- In statements of their own: the snapshot of the one that locked is older than its wait for the lock.
  outcome := case
    when b.epoch <> (select u.epoch from token_ledger.user_epoch u where u.user_id = b.user_id) then 'epoch_changed'
    when b.max_open <= (
      select count(*)
      from token_ledger.open_family o
      where o.user_id = b.user_id and o.absolute_expires_at > token_ledger.clock()
    ) then 'too_many_open'
    else 'begun'
  end;
  if outcome = 'begun' then
    began_at := token_ledger.clock();
    ends_at := began_at + b.absolute_ms * interval '1 millisecond';
    -- The first 48 bits of a UUIDv7 are the time: the first two groups and their hyphens.
    family_id := ("left"(token_ledger.first_family_id(began_at)::text, 14) || substr(b.random_id::text, 15))::uuid;
    insert into token_ledger.token_family (family_id, user_id, transport, device_name, created_at, absolute_expires_at)
    values (family_id, b.user_id, b.transport, b.device_name, began_at, ends_at);
    insert into token_ledger.token_event (
      family_id, seq, kind, generation, occurred_at, expires_at, absolute_expires_at, user_id, transport, token_hash,
      ip, user_agent, origin_salt)
    values (
      family_id, 1, 'issued', 0, began_at, least(began_at + b.idle_ms * interval '1 millisecond', ends_at), ends_at,
      b.user_id, b.transport, b.token_hash, b.ip, b.user_agent, b.origin_salt);
  end if;
  return next;
end
$$;
--> statement-breakpoint
revoke all on function token_ledger.begin_family(json) from public;
--> statement-breakpoint
grant execute on function token_ledger.begin_family(json) to token_ledger_app;
