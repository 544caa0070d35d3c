-- How and when a user proved who they are is in the events. Older processes may run beside this: yes, because they begin sessions without it, and only a session that has proved it again is answered with an error by them.

-- One statement, so that each partition is read once.
alter table token_ledger.token_event
  add column methods text[],
  add column authenticated_at timestamptz,
  drop constraint token_event_shape,
  add constraint token_event_authentication check (cardinality(methods) between 1 and 10
        and array_to_string(methods, ' ') ~ '^[A-Za-z0-9_.:/-]{1,50}( [A-Za-z0-9_.:/-]{1,50})*$'
        and string_to_array(array_to_string(methods, ' '), ' ') = methods
        and authenticated_at <= occurred_at
        and authenticated_at >= '1970-01-01T00:00:00Z'::timestamptz
        and authenticated_at = date_trunc('milliseconds', authenticated_at)),
  add constraint token_event_shape check ((case kind
        when 'issued' then generation = 0
          and num_nonnulls(expires_at, user_id, absolute_expires_at, transport, token_hash) = 5
          and num_nonnulls(salt, attempt_hash, presented_generation, reason, actor_user_id) = 0
          and num_nonnulls(methods, authenticated_at) in (0, 2)
        when 'rotated' then generation >= 1
          and num_nonnulls(expires_at, absolute_expires_at, token_hash, salt) = 4
          and num_nonnulls(user_id, transport, presented_generation, reason, actor_user_id, methods, authenticated_at) = 0
        when 'reauthenticated' then generation >= 1
          and num_nonnulls(expires_at, absolute_expires_at, token_hash, salt, methods, authenticated_at) = 6
          and num_nonnulls(user_id, transport, presented_generation, reason, actor_user_id) = 0
        when 'replayed' then presented_generation between 0 and generation - 1
          and (reason = 'same_attempt' or reason = 'grace_window' and presented_generation = generation - 1)
          and num_nonnulls(expires_at, user_id, absolute_expires_at, transport, token_hash, salt, actor_user_id, methods, authenticated_at) = 0
        when 'reuse_detected' then presented_generation between 0 and generation - 1
          and num_nonnulls(expires_at, user_id, absolute_expires_at, transport, token_hash, salt, attempt_hash, reason, actor_user_id, methods, authenticated_at) = 0
        when 'revoked' then reason in ('logout', 'logout_everywhere', 'user_revoked', 'admin_revoked', 'password_changed', 'user_disabled', 'reuse_elsewhere', 'session_limit')
          and num_nonnulls(expires_at, user_id, absolute_expires_at, transport, token_hash, salt, attempt_hash, presented_generation, methods, authenticated_at) = 0
        else false
      end) is true);
--> statement-breakpoint
create index token_event_authentications on token_ledger.token_event (family_id, seq)
where kind in ('issued', 'reauthenticated');
--> statement-breakpoint
grant insert (methods, authenticated_at) on token_ledger.token_event to token_ledger_app;
--> statement-breakpoint
-- Version 1 is this list without the last two fields. An event has version 2 when it has one of them.
create function token_ledger.event_hash_of(
  family_id uuid, seq integer, prev_hash bytea, kind text, generation integer,
  occurred_at timestamptz, expires_at timestamptz, absolute_expires_at timestamptz, user_id uuid,
  transport text, token_hash bytea, salt bytea, attempt_hash bytea, presented_generation integer,
  reason text, actor_user_id uuid, origin_hash bytea,
  methods text[], authenticated_at timestamptz
)
returns bytea
language sql stable parallel safe
return sha256(
  convert_to(
    case when methods is null and authenticated_at is null then 'token-ledger/v1' else 'token-ledger/v2' end, 'UTF8')
  || uuid_send(family_id)
  || int4send(seq)
  || coalesce(prev_hash, decode(repeat('00', 32), 'hex'))
  || token_ledger.field(convert_to(kind, 'UTF8'))
  || token_ledger.field(int4send(generation))
  || token_ledger.field(timestamptz_send(occurred_at))
  || token_ledger.field(timestamptz_send(expires_at))
  || token_ledger.field(timestamptz_send(absolute_expires_at))
  || token_ledger.field(uuid_send(user_id))
  || token_ledger.field(convert_to(transport, 'UTF8'))
  || token_ledger.field(token_hash)
  || token_ledger.field(salt)
  || token_ledger.field(attempt_hash)
  || token_ledger.field(int4send(presented_generation))
  || token_ledger.field(convert_to(reason, 'UTF8'))
  || token_ledger.field(uuid_send(actor_user_id))
  || token_ledger.field(origin_hash)
  || case when methods is null and authenticated_at is null then ''::bytea
    else token_ledger.field(convert_to(array_to_string(methods, ' '), 'UTF8'))
      || token_ledger.field(timestamptz_send(authenticated_at))
  end
);
--> statement-breakpoint
create or replace function token_ledger.event_hash(e token_ledger.token_event)
returns bytea
language sql stable parallel safe
return token_ledger.event_hash_of(
  (e).family_id, (e).seq, (e).prev_hash, (e).kind, (e).generation, (e).occurred_at, (e).expires_at,
  (e).absolute_expires_at, (e).user_id, (e).transport, (e).token_hash, (e).salt, (e).attempt_hash,
  (e).presented_generation, (e).reason, (e).actor_user_id, (e).origin_hash,
  (e).methods, (e).authenticated_at
);
--> statement-breakpoint
-- As in 0024, but for the new kind, which makes a token as `rotated` does. So do the functions below.
create or replace function token_ledger.history_problem(
  seq integer, kind text, generation integer, occurred_at timestamptz, expires_at timestamptz,
  absolute_expires_at timestamptz, ip inet, user_agent text, origin_salt bytea, last_seq integer,
  last_kind text, last_generation integer, last_occurred_at timestamptz, token_seq integer,
  token_expires_at timestamptz, family_ends_at timestamptz, has_same_family boolean
)
returns text
language sql stable parallel safe
return case
  when (
      (occurred_at < '1970-01-01 00:00:00+00'::timestamptz)
      or (occurred_at >= '10000-01-01 00:00:00+00'::timestamptz)
      or (absolute_expires_at >= '10000-01-01 00:00:00+00'::timestamptz)
    ) then 'its instants are not between 1970 and 9999'
  when (expires_at <= occurred_at) then 'a token may not expire before it is made'
  when (
      (origin_salt is null) and (num_nonnulls(ip, user_agent) > 0)
    ) then 'ip or user_agent without their salt'
  when (masklen(ip) < case family(ip) when 4 then 32 else 128 end) then 'ip is a network'
  when ((last_seq is null) and (seq <> 1)) then 'a family begins with seq 1'
  when ((last_seq is null) and (kind <> 'issued')) then 'a family begins with issued'
  when ((last_seq is null) and (has_same_family is null)) then 'the family row is missing'
  when (
      (last_seq is null) and (not has_same_family)
    ) then 'the family row differs from the first event'
  when (last_seq is null) then null::text
  when (seq <> last_seq + 1) then format('seq %s does not follow %s', seq, last_seq)
  when last_kind in ('reuse_detected', 'revoked') then format('the family is over: %s', last_kind)
  when (kind = 'issued') then 'a family is issued once'
  when kind in ('rotated', 'reauthenticated') and generation <> last_generation + 1 then format(
      'generation %s does not follow %s', generation, last_generation
    )
  when kind in ('rotated', 'reauthenticated') and absolute_expires_at <> family_ends_at then 'a rotation does not move the end of the family'
  when kind not in ('rotated', 'reauthenticated') and generation <> last_generation then format(
      '%s may not change the generation %s to %s', kind, last_generation, generation
    )
  when (occurred_at < last_occurred_at) then 'an event may not come before the last one'
  when (occurred_at >= token_expires_at) then format('%s after the token had expired', kind)
  when ((kind = 'replayed') and ((seq - token_seq) > 20)) then 'replayed more than 20 times'
end;
--> statement-breakpoint
create or replace function token_ledger.chain_event()
returns trigger
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
  has_same_family boolean;
  given_hash bytea := new.hash;
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
    where family_id = new.family_id and kind in ('issued', 'rotated', 'reauthenticated')
    order by seq desc
    limit 1;
  elsif last.seq is null then
    -- A malformed event passes here, and a CHECK of the table refuses it.
    select coalesce(
      (f.user_id, f.transport, f.created_at, f.absolute_expires_at)
        = (new.user_id, new.transport, new.occurred_at, new.absolute_expires_at),
      true)
    into has_same_family
    from token_ledger.token_family f
    where f.family_id = new.family_id;
  end if;

  problem := token_ledger.history_problem(
    new.seq, new.kind, new.generation, new.occurred_at, new.expires_at, new.absolute_expires_at, new.ip, new.user_agent,
    new.origin_salt, last.seq, last.kind, last.generation, last.occurred_at, coalesce(token_seq, last.seq),
    coalesce(token_expires_at, last.expires_at), coalesce(family_ends_at, last.absolute_expires_at), has_same_family);
  if problem is not null then
    raise exception 'illegal history of family %: %', new.family_id, problem using errcode = 'TL002';
  end if;

  new.txid := greatest(pg_current_xact_id(), last.txid);
  new.origin_hash := token_ledger.origin_hash(new.origin_salt, new.ip, new.user_agent);
  new.prev_hash := last.hash;
  new.hash := token_ledger.event_hash_of(
    new.family_id, new.seq, new.prev_hash, new.kind, new.generation, new.occurred_at, new.expires_at,
    new.absolute_expires_at, new.user_id, new.transport, new.token_hash, new.salt, new.attempt_hash,
    new.presented_generation, new.reason, new.actor_user_id, new.origin_hash, new.methods, new.authenticated_at);
  if given_hash <> new.hash then
    raise exception 'illegal history of family %: the hash does not match the content', new.family_id
      using errcode = 'TL002';
  end if;
  return new;
end
$$;
--> statement-breakpoint
create or replace function token_ledger.check_chained()
returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
declare
  lowest uuid := (select a.family_id from appended a order by a.family_id limit 1);
  wrong record;
begin
  -- Rows of another database come in any order. compare_event has compared each of them, except those that a statement
  -- inserted before it took on the role of a replica.
  if token_ledger.is_applying() then
    select a.family_id, 'it does not continue the chain' as problem into wrong
    from appended a
    where a.hash <> token_ledger.event_hash(row(a.*)::token_ledger.token_event)
      or a.origin_salt is not null and a.origin_hash <> token_ledger.origin_hash(a.origin_salt, a.ip, a.user_agent)
      or exists (
        select
        from token_ledger.token_event e
        where e.family_id = a.family_id
          and e.seq between a.seq - 1 and a.seq + 1
          and case e.seq
            when a.seq - 1 then e.hash is distinct from a.prev_hash
            when a.seq + 1 then e.prev_hash is distinct from a.hash
          end
      )
    limit 1;
    if found then
      raise exception 'illegal history of family %: %', wrong.family_id, wrong.problem using errcode = 'TL002';
    end if;
    return null;
  end if;

  if not exists (
    select
    from appended a
    left join lateral (
      select p.seq, p.kind, p.generation, p.occurred_at, p.expires_at, p.absolute_expires_at, p.hash, p.txid
      from token_ledger.token_event p
      where p.family_id = a.family_id and p.seq = a.seq - 1 and p.family_id >= lowest
      offset 0
    ) last on true
    where (
      last.kind in ('issued', 'rotated', 'reauthenticated')
      and token_ledger.history_problem(
        a.seq, a.kind, a.generation, a.occurred_at, a.expires_at, a.absolute_expires_at, a.ip, a.user_agent,
        a.origin_salt, last.seq, last.kind, last.generation, last.occurred_at, last.seq, last.expires_at,
        last.absolute_expires_at, null) is null
      and a.prev_hash = last.hash
      and a.txid = greatest(pg_current_xact_id(), last.txid)
      and a.origin_hash = token_ledger.origin_hash(a.origin_salt, a.ip, a.user_agent)
      and a.hash = token_ledger.event_hash_of(
        a.family_id, a.seq, a.prev_hash, a.kind, a.generation, a.occurred_at, a.expires_at,
        a.absolute_expires_at, a.user_id, a.transport, a.token_hash, a.salt, a.attempt_hash,
        a.presented_generation, a.reason, a.actor_user_id, a.origin_hash, a.methods, a.authenticated_at)
    ) is not true
  ) then
    return null;
  end if;

  select judged.family_id, judged.problem into wrong
  from (
    select
      a.family_id, a.seq,
      coalesce(
        token_ledger.history_problem(
          a.seq, a.kind, a.generation, a.occurred_at, a.expires_at, a.absolute_expires_at, a.ip, a.user_agent,
          a.origin_salt, last.seq, last.kind, last.generation, last.occurred_at, token.seq, token.expires_at,
          token.absolute_expires_at, family.is_same),
        case
          when a.prev_hash is distinct from last.hash then 'it does not continue the chain'
          when a.txid <> greatest(pg_current_xact_id(), last.txid) then 'its txid is not the one of its transaction'
          when a.origin_hash <> token_ledger.origin_hash(a.origin_salt, a.ip, a.user_agent)
            then 'ip or user_agent do not match their hash'
          when a.hash <> token_ledger.event_hash(row(a.*)::token_ledger.token_event)
            then 'the hash does not match the content'
        end) as problem
    from appended a
    left join lateral (
      select *
      from token_ledger.token_event p
      where p.family_id = a.family_id and p.seq < a.seq and p.family_id >= lowest
      order by p.seq desc
      limit 1
    ) last on true
    left join lateral (
      select *
      from token_ledger.token_event t
      where t.family_id = a.family_id and t.seq < a.seq and t.kind in ('issued', 'rotated', 'reauthenticated') and t.family_id >= lowest
      order by t.seq desc
      limit 1
    ) token on true
    left join lateral (
      select (f.user_id, f.transport, f.created_at, f.absolute_expires_at)
        = (a.user_id, a.transport, a.occurred_at, a.absolute_expires_at) as is_same
      from token_ledger.token_family f
      where f.family_id = a.family_id and f.family_id >= lowest
    ) family on true
  ) judged
  where judged.problem is not null
  order by judged.family_id, judged.seq
  limit 1;
  if found then
    raise exception 'illegal history of family %: %', wrong.family_id, wrong.problem using errcode = 'TL002';
  end if;
  return null;
end
$$;
--> statement-breakpoint
create or replace function token_ledger.compare_event()
returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
declare
  problem text;
begin
  problem := case
    when new.origin_salt is null and num_nonnulls(new.ip, new.user_agent) > 0 then 'ip or user_agent without their salt'
    when new.origin_salt is not null
      and new.origin_hash is distinct from token_ledger.origin_hash(new.origin_salt, new.ip, new.user_agent)
      then 'ip or user_agent do not match their hash'
    when new.hash is distinct from token_ledger.event_hash_of(
      new.family_id, new.seq, new.prev_hash, new.kind, new.generation, new.occurred_at, new.expires_at,
      new.absolute_expires_at, new.user_id, new.transport, new.token_hash, new.salt, new.attempt_hash,
      new.presented_generation, new.reason, new.actor_user_id, new.origin_hash, new.methods, new.authenticated_at)
      then 'the hash does not match the content'
    when exists (
      select
      from token_ledger.token_event e
      where e.family_id = new.family_id
        and e.seq between new.seq - 1 and new.seq + 1
        and case e.seq
          when new.seq - 1 then e.hash is distinct from new.prev_hash
          when new.seq + 1 then e.prev_hash is distinct from new.hash
        end
    ) then 'it does not continue the chain'
  end;
  if problem is not null then
    raise exception 'event % of family % cannot be applied: %', new.seq, new.family_id, problem using errcode = 'TL002';
  end if;
  return new;
end
$$;
--> statement-breakpoint
create or replace function token_ledger.suspect_replay()
returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
declare
  first_seq integer;
  -- Replayed from elsewhere: the generations, and the events of the current one.
  generations integer[];
  current_seqs integer[];
begin
  -- The current generation and three before it: the third shows whether this row of them was noted before.
  select min(t.seq) into first_seq
  from (
    select e.seq
    from token_ledger.token_event e
    where e.family_id = new.family_id and e.kind in ('issued', 'rotated', 'reauthenticated')
    order by e.seq desc
    limit 4
  ) t;

  select array_agg(distinct r.generation order by r.generation), array_agg(r.seq) filter (where r.generation = new.generation)
  into generations, current_seqs
  from (
    select
      e.seq, e.kind, e.generation,
      token_ledger.network_of(e.ip) as network,
      token_ledger.network_of(first_value(e.ip) over (partition by e.generation order by e.seq)) as rotation_network
    from token_ledger.token_event e
    where e.family_id = new.family_id and e.seq between first_seq and new.seq
  ) r
  where r.kind = 'replayed' and r.network <> r.rotation_network;

  if current_seqs = array[new.seq] and generations = array[new.generation - 2, new.generation - 1, new.generation] then
    insert into token_ledger.replay_suspicion (family_id, seq, occurred_at)
    values (new.family_id, new.seq, new.occurred_at);
  end if;
  return null;
end
$$;
--> statement-breakpoint
create or replace function token_ledger.append_unless_changed(family_ids uuid[], events json)
returns setof uuid
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
declare
  lowest uuid := (select id from unnest(family_ids) id order by id limit 1);
  locked uuid[];
begin
  -- Until the transaction ends. For is_applying.
  perform set_config('token_ledger.appends', 'yes', true);
  select array_agg(l.family_id) into locked
  from (
    select f.family_id
    from token_ledger.token_family f
    where f.family_id = any(family_ids) and f.family_id >= lowest
    order by f.family_id
    for update skip locked
  ) l;

  -- In a statement of its own: the one that locks has not seen what others appended before it had the lock.
  return query
  insert into token_ledger.token_event (
    family_id, seq, kind, generation, occurred_at, expires_at, absolute_expires_at, token_hash, salt,
    attempt_hash, presented_generation, reason, ip, user_agent, origin_salt, origin_hash, prev_hash, hash, txid)
  select
    e.family_id, e.seq, e.kind, e.generation, e.occurred_at, e.expires_at, e.absolute_expires_at, e.token_hash, e.salt,
    e.attempt_hash, e.presented_generation, e.reason, e.ip, e.user_agent, e.origin_salt, o.origin_hash, last.hash,
    token_ledger.event_hash_of(
      e.family_id, e.seq, last.hash, e.kind, e.generation, e.occurred_at, e.expires_at, e.absolute_expires_at, null, null,
      e.token_hash, e.salt, e.attempt_hash, e.presented_generation, e.reason, null, o.origin_hash, null,
      null),
    greatest(pg_current_xact_id(), last.txid)
  from json_to_recordset(events) as e(
    family_id uuid, seq integer, kind text, generation integer, occurred_at timestamptz, expires_at timestamptz,
    absolute_expires_at timestamptz, token_hash bytea, salt bytea, attempt_hash bytea, presented_generation integer,
    reason text, ip inet, user_agent text, origin_salt bytea)
  cross join lateral (
    select token_ledger.origin_hash(e.origin_salt, e.ip, e.user_agent) as origin_hash
    offset 0
  ) o
  cross join lateral (
    select newest.seq, newest.hash, newest.txid
    from token_ledger.token_event newest
    where newest.family_id = e.family_id and newest.family_id >= lowest
    order by newest.seq desc
    limit 1
  ) last
  where e.family_id = any(locked) and e.seq - 1 = last.seq
  returning token_event.family_id;
end
$$;
--> statement-breakpoint
drop function token_ledger.event_hash_of(
  uuid, integer, bytea, text, integer, timestamptz, timestamptz, timestamptz, uuid, text, bytea, bytea, bytea, integer,
  text, uuid, bytea);
--> statement-breakpoint
-- The user was authenticated when the session begins, or before: the clock of what proved it may be ahead.
create or replace function token_ledger.begin_family(beginning json)
returns table(outcome text, family_id uuid, began_at timestamptz)
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
    idle_ms float8, absolute_ms float8, token_hash bytea, ip inet, user_agent text, origin_salt bytea,
    methods text[], authenticated_at timestamptz);

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
      ip, user_agent, origin_salt, methods, authenticated_at)
    values (
      family_id, 1, 'issued', 0, began_at, least(began_at + b.idle_ms * interval '1 millisecond', ends_at), ends_at,
      b.user_id, b.transport, b.token_hash, b.ip, b.user_agent, b.origin_salt, b.methods,
      case when b.methods is not null then least(b.authenticated_at, began_at) end);
  end if;
  return next;
end
$$;
--> statement-breakpoint
create or replace function token_ledger.keep_open_families()
returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
begin
  if new.kind <> 'issued' then
    delete from token_ledger.open_family o where o.family_id = new.family_id;
    return null;
  end if;
  delete from token_ledger.open_family o
  where o.family_id = any(array(
      select own.family_id
      from token_ledger.open_family own
      where own.user_id = new.user_id
      order by own.family_id
      limit 200
    ))
    and new.occurred_at - interval '1 hour' > coalesce(
      (
        select made.expires_at
        from token_ledger.token_event made
        where made.family_id = o.family_id and made.kind in ('issued', 'rotated', 'reauthenticated')
        order by made.seq desc
        limit 1
      ),
      o.absolute_expires_at);
  -- The row is there when a dump of the data is restored, which brings it before the event.
  insert into token_ledger.open_family (family_id, user_id, absolute_expires_at)
  values (new.family_id, new.user_id, new.absolute_expires_at)
  on conflict (family_id) do nothing;
  return null;
end
$$;
--> statement-breakpoint
create or replace function token_ledger.check_open_families(first uuid, last uuid)
returns table(family_id uuid, first_broken_seq integer, problem text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select judged.family_id, judged.seq, judged.problem
  from (
    select
      coalesce(f.family_id, o.family_id) as family_id,
      case when newest.kind in ('revoked', 'reuse_detected') then newest.seq else 1 end as seq,
      case
        when f.family_id is null then 'open_family has it, the ledger does not'
        when o.family_id is not null and newest.kind in ('revoked', 'reuse_detected')
          then 'open_family has it, but it is over'
        when o.family_id is null and newest.kind not in ('revoked', 'reuse_detected')
          and made.expires_at > token_ledger.clock()
          then 'it is active, but open_family lacks it'
        when o.family_id is not null
          and (o.user_id, o.absolute_expires_at) is distinct from (f.user_id, f.absolute_expires_at)
          then 'its row in open_family differs'
      end as problem
    from (
      select *
      from token_ledger.token_family
      where token_family.family_id between check_open_families.first and check_open_families.last
    ) f
    full join (
      select *
      from token_ledger.open_family
      where open_family.family_id between check_open_families.first and check_open_families.last
    ) o on o.family_id = f.family_id
    left join lateral (
      select e.seq, e.kind
      from token_ledger.token_event e
      where e.family_id = f.family_id
      order by e.seq desc
      limit 1
    ) newest on true
    left join lateral (
      select e.expires_at
      from token_ledger.token_event e
      where e.family_id = f.family_id and e.kind in ('issued', 'rotated', 'reauthenticated')
      order by e.seq desc
      limit 1
    ) made on true
    where o.family_id is not null or f.absolute_expires_at > token_ledger.clock()
  ) judged
  where judged.problem is not null
$$;
--> statement-breakpoint
create or replace view token_audit.events as
select
  e.family_id,
  e.seq,
  e.kind,
  e.generation,
  f.user_id,
  u.email,
  e.occurred_at,
  e.expires_at,
  e.reason,
  e.actor_user_id,
  e.ip,
  e.user_agent,
  e.hash,
  e.prev_hash,
  e.methods,
  e.authenticated_at
from token_ledger.token_event e
join token_ledger.token_family f using (family_id)
left join token_ledger.user_account u on u.user_id = f.user_id;
--> statement-breakpoint
create or replace view token_audit.sessions as
select
  f.family_id,
  f.user_id,
  u.email,
  case
    when last.kind in ('revoked', 'reuse_detected') then last.kind
    when made.expires_at <= token_ledger.clock() then 'expired'
    else 'active'
  end as status,
  f.transport,
  f.device_name,
  f.created_at,
  case when made.kind <> 'issued' then made.occurred_at end as last_rotated_at,
  made.generation as rotations,
  made.expires_at,
  f.absolute_expires_at,
  case
    when last.kind in ('revoked', 'reuse_detected') then last.occurred_at
    when made.expires_at <= token_ledger.clock() then made.expires_at
  end as ended_at,
  case
    when last.kind = 'revoked' then last.reason
    when last.kind = 'reuse_detected' then last.kind
    when made.expires_at <= token_ledger.clock() then 'expired'
  end as end_reason,
  case
    when last.kind in ('revoked', 'reuse_detected') then f.family_id || ':' || last.seq
  end as incident_id,
  made.ip,
  made.user_agent,
  proved.methods,
  proved.authenticated_at
from token_ledger.token_family f
cross join lateral (
  select
    e.kind,
    e.generation,
    e.occurred_at,
    e.expires_at,
    e.ip,
    e.user_agent
  from token_ledger.token_event e
  where e.family_id = f.family_id and e.kind in ('issued', 'rotated', 'reauthenticated')
  order by e.seq desc
  limit 1
) made
cross join lateral (
  select
    e.seq,
    e.kind,
    e.occurred_at,
    e.reason
  from token_ledger.token_event e
  where e.family_id = f.family_id
  order by e.seq desc
  limit 1
) last
left join lateral (
  select
    e.methods,
    e.authenticated_at
  from token_ledger.token_event e
  where e.family_id = f.family_id and e.kind in ('issued', 'reauthenticated')
  order by e.seq desc
  limit 1
) proved on true
left join token_ledger.user_account u on u.user_id = f.user_id;
--> statement-breakpoint
create or replace view token_audit.reuse_incidents as
select
  e.family_id || ':' || e.seq as incident_id,
  e.family_id,
  e.seq,
  f.user_id,
  u.email,
  e.occurred_at,
  e.presented_generation,
  e.generation as current_generation,
  e.generation - e.presented_generation as generations_behind,
  e.occurred_at - spent.occurred_at as since_rotation,
  e.ip = newest.ip as same_ip,
  e.user_agent = newest.user_agent as same_user_agent,
  e.ip,
  e.user_agent,
  newest.ip as rotation_ip,
  newest.user_agent as rotation_user_agent
from token_ledger.token_event e
join token_ledger.token_family f using (family_id)
join token_ledger.token_event spent on spent.family_id = e.family_id
  and spent.kind in ('rotated', 'reauthenticated')
  and spent.generation = e.presented_generation + 1
join token_ledger.token_event newest on newest.family_id = e.family_id
  and newest.kind in ('rotated', 'reauthenticated')
  and newest.generation = e.generation
left join token_ledger.user_account u on u.user_id = f.user_id
where e.kind = 'reuse_detected';
--> statement-breakpoint
create or replace view token_audit.replay_suspicions as
select
  e.family_id || ':' || e.seq as incident_id,
  e.family_id,
  e.seq,
  f.user_id,
  u.email,
  s.occurred_at,
  e.presented_generation,
  e.generation as current_generation,
  e.generation - e.presented_generation as generations_behind,
  e.occurred_at - rotation.occurred_at as since_rotation,
  e.ip = rotation.ip as same_ip,
  e.user_agent = rotation.user_agent as same_user_agent,
  e.ip,
  e.user_agent,
  rotation.ip as rotation_ip,
  rotation.user_agent as rotation_user_agent
from token_ledger.replay_suspicion s
join token_ledger.token_event e on e.family_id = s.family_id and e.seq = s.seq
join token_ledger.token_family f on f.family_id = s.family_id
join token_ledger.token_event rotation on rotation.family_id = s.family_id
  and rotation.kind in ('rotated', 'reauthenticated')
  and rotation.generation = e.generation
left join token_ledger.user_account u on u.user_id = f.user_id;
--> statement-breakpoint
drop function token_audit.session_state_at(uuid, timestamptz);
--> statement-breakpoint
create function token_audit.session_state_at(family_id uuid, at timestamptz)
returns table(
  status text, generation integer, expires_at timestamptz, end_reason text, incident_id text,
  methods text[], authenticated_at timestamptz
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select
    case
      when last.kind in ('revoked', 'reuse_detected') then last.kind
      when made.expires_at <= session_state_at.at then 'expired'
      else 'active'
    end,
    made.generation,
    made.expires_at,
    case
      when last.kind = 'revoked' then last.reason
      when last.kind = 'reuse_detected' then last.kind
      when made.expires_at <= session_state_at.at then 'expired'
    end,
    case
      when last.kind in ('revoked', 'reuse_detected') then session_state_at.family_id || ':' || last.seq
    end,
    proved.methods,
    proved.authenticated_at
  from (
    select e.generation, e.expires_at
    from token_ledger.token_event e
    where e.family_id = session_state_at.family_id
      and e.kind in ('issued', 'rotated', 'reauthenticated')
      and e.occurred_at <= session_state_at.at
    order by e.seq desc
    limit 1
  ) made
  cross join (
    select e.seq, e.kind, e.reason
    from token_ledger.token_event e
    where e.family_id = session_state_at.family_id
      and e.occurred_at <= session_state_at.at
    order by e.seq desc
    limit 1
  ) last
  left join (
    select e.methods, e.authenticated_at
    from token_ledger.token_event e
    where e.family_id = session_state_at.family_id
      and e.kind in ('issued', 'reauthenticated')
      and e.occurred_at <= session_state_at.at
    order by e.seq desc
    limit 1
  ) proved on true
$$;
--> statement-breakpoint
revoke all on function token_audit.session_state_at(uuid, timestamptz) from public;
--> statement-breakpoint
grant execute on function token_audit.session_state_at(uuid, timestamptz) to token_ledger_auditor, token_ledger_app;
--> statement-breakpoint
create or replace function token_audit.sessions_at(at timestamptz)
returns setof token_audit.sessions
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select
    f.family_id,
    f.user_id,
    u.email,
    'active',
    f.transport,
    f.device_name,
    f.created_at,
    case when made.kind <> 'issued' then made.occurred_at end,
    made.generation,
    made.expires_at,
    f.absolute_expires_at,
    null::timestamptz,
    null::text,
    null::text,
    made.ip,
    made.user_agent,
    proved.methods,
    proved.authenticated_at
  from token_ledger.token_family f
  cross join lateral (
    select e.kind, e.generation, e.occurred_at, e.expires_at, e.ip, e.user_agent
    from token_ledger.token_event e
    where e.family_id = f.family_id
      and e.kind in ('issued', 'rotated', 'reauthenticated')
      and e.occurred_at <= sessions_at.at
    order by e.seq desc
    limit 1
  ) made
  left join lateral (
    select e.methods, e.authenticated_at
    from token_ledger.token_event e
    where e.family_id = f.family_id
      and e.kind in ('issued', 'reauthenticated')
      and e.occurred_at <= sessions_at.at
    order by e.seq desc
    limit 1
  ) proved on true
  left join token_ledger.user_account u on u.user_id = f.user_id
  where f.created_at <= sessions_at.at
    and f.absolute_expires_at > sessions_at.at
    and made.expires_at > sessions_at.at
    and not exists (
      select
      from token_ledger.token_event ended
      where ended.family_id = f.family_id
        and ended.kind in ('revoked', 'reuse_detected')
        and ended.occurred_at <= sessions_at.at
    )
  order by f.family_id
$$;
--> statement-breakpoint
create or replace function token_ledger.check_families(first uuid, last uuid)
returns table(family_id uuid, events integer, first_broken_seq integer, problem text)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
begin
  return query
  with event as (
    select
      e.*,
      token_ledger.event_hash(e) as right_hash,
      token_ledger.origin_hash(e.origin_salt, e.ip, e.user_agent) as right_origin_hash,
      lag(e.seq) over history as before_seq,
      lag(e.kind) over history as before_kind,
      lag(e.generation) over history as before_generation,
      lag(e.occurred_at) over history as before_at,
      lag(e.hash) over history as before_hash,
      lag(e.txid) over history as before_txid,
      first_value(e.absolute_expires_at) over history as family_ends_at,
      -- Of the newest token there was: its seq, and when it expires in microseconds.
      max(case when e.kind in ('issued', 'rotated', 'reauthenticated') and e.expires_at is not null
        then array[e.seq, (extract(epoch from e.expires_at) * 1000000)::bigint] end)
        over (history rows between unbounded preceding and 1 preceding) as made
    from token_ledger.token_event e
    where e.family_id between first and last
    window history as (partition by e.family_id order by e.seq)
  ),
  judged as (
    select
      e.family_id,
      case when e.seq > coalesce(e.before_seq, 0) + 1 then coalesce(e.before_seq, 0) + 1 else e.seq end as at_seq,
      case
        when e.seq <> coalesce(e.before_seq, 0) + 1 then format('event %s is missing', coalesce(e.before_seq, 0) + 1)
        when e.prev_hash is distinct from e.before_hash and e.before_seq is null then 'prev_hash of the first event is not empty'
        when e.prev_hash is distinct from e.before_hash then format('prev_hash is not the hash of event %s', e.before_seq)
        when e.hash is distinct from e.right_hash then 'the hash does not match the content'
        when e.origin_salt is null and num_nonnulls(e.ip, e.user_agent) > 0 then 'ip or user_agent without their salt'
        when e.origin_salt is not null and (e.origin_hash is distinct from e.right_origin_hash or e.ip <> host(e.ip)::inet)
          then 'ip or user_agent do not match their hash'
        when e.before_seq is null and e.kind <> 'issued' then format('it begins with %s', e.kind)
        when e.before_kind in ('revoked', 'reuse_detected') then format('%s after the family was over', e.kind)
        when e.before_seq is not null and e.kind = 'issued' then 'it is issued twice'
        when e.kind = 'issued' and e.generation <> 0 then format('it begins with generation %s', e.generation)
        when e.kind in ('rotated', 'reauthenticated') and e.generation <> e.before_generation + 1
          then format('generation %s follows %s', e.generation, e.before_generation)
        when e.kind not in ('issued', 'rotated', 'reauthenticated') and e.generation <> e.before_generation
          then format('%s changes the generation', e.kind)
        when e.kind = 'replayed' and e.reason = 'grace_window' and e.presented_generation is distinct from e.generation - 1
          then 'replayed in the grace window, but not the direct predecessor'
        when e.kind = 'replayed' and (e.presented_generation is null or e.presented_generation >= e.generation)
          then 'the token that was replayed was not spent'
        when e.kind = 'reuse_detected' and (e.presented_generation is null or e.presented_generation >= e.generation)
          then 'the token that came back was not spent'
        when e.occurred_at < e.before_at then 'it comes before the event before it'
        when e.kind in ('issued', 'rotated', 'reauthenticated') and e.absolute_expires_at is distinct from e.family_ends_at
          then 'the end of the family moved'
        when e.expires_at > e.absolute_expires_at then 'the token outlives the family'
        when (extract(epoch from e.occurred_at) * 1000000)::bigint >= e.made[2]
          then format('%s after the token had expired', e.kind)
        when e.kind = 'replayed' and e.seq - e.made[1] > 20 then 'replayed more than 20 times'
        when e.txid < e.before_txid then 'its transaction is older than the one before'
        when e.seq = 1 and f.family_id is null then 'the family row is missing'
        when e.seq = 1 and (f.user_id, f.transport, f.created_at, f.absolute_expires_at, f.lock_mark)
          is distinct from (e.user_id, e.transport, e.occurred_at, e.absolute_expires_at, 0::smallint)
          then 'the family row differs from the first event'
      end as problem
    from event e
    left join token_ledger.token_family f
      on e.seq = 1 and f.family_id = e.family_id and f.family_id between first and last
  ),
  family as (
    select
      judged.family_id,
      count(*)::integer as events,
      min(judged.at_seq) filter (where judged.problem is not null) as at_seq,
      (array_agg(judged.problem order by judged.at_seq) filter (where judged.problem is not null))[1] as problem
    from judged
    group by judged.family_id
  )
  select family.family_id, family.events, family.at_seq, family.problem
  from family
  union all
  select f.family_id, 0, 1, 'event 1 is missing'
  from token_ledger.token_family f
  where f.family_id between first and last
    and not exists (
      select
      from token_ledger.token_event e
      where e.family_id = f.family_id and e.family_id between first and last
    )
  order by 1;
end
$$;
--> statement-breakpoint
create or replace function token_ledger.end_sessions_of_deleted_user() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  open_id uuid;
  last record;
  end_at timestamptz;
  first_end_at timestamptz;
begin
  insert into token_ledger.user_epoch (user_id, epoch)
  values (old.user_id, 1)
  on conflict (user_id) do update set epoch = user_epoch.epoch + 1;

  for open_id in
    select f.family_id
    from token_ledger.token_family f
    where f.family_id in (select o.family_id from token_ledger.open_family o where o.user_id = old.user_id)
    order by f.family_id
    for update
  loop
    -- In a statement of its own: it sees what was appended before this transaction had the lock.
    select newest.seq, newest.kind, newest.generation, newest.occurred_at, made.expires_at into last
    from (
      select e.seq, e.kind, e.generation, e.occurred_at
      from token_ledger.token_event e
      where e.family_id = open_id
      order by e.seq desc
      limit 1
    ) newest
    cross join lateral (
      select e.expires_at
      from token_ledger.token_event e
      where e.family_id = open_id and e.kind in ('issued', 'rotated', 'reauthenticated')
      order by e.seq desc
      limit 1
    ) made;
    end_at := greatest(token_ledger.clock(), last.occurred_at);
    continue when last.kind in ('revoked', 'reuse_detected') or last.expires_at <= end_at;
    insert into token_ledger.token_event (family_id, seq, kind, generation, occurred_at, reason)
    values (open_id, last.seq + 1, 'revoked', last.generation, end_at, 'user_disabled');
    first_end_at := least(first_end_at, end_at);
  end loop;

  -- As notifyFamilyEnds in db/ledger/ends.ts.
  if first_end_at is not null then
    perform pg_notify('token_ledger_ends', (extract(epoch from first_end_at) * 1000)::bigint::text);
  end if;
  return null;
end
$$;
