-- A rotation says how its user was authenticated, so that a refresh reads it with the token. Older processes may run beside this: yes, because append_unless_changed copies it for them; processes of before 0027 answer a session that has proved it again with an error until its next rotation.

create function token_ledger.is_authentication(
  kind text, methods text[], authenticated_at timestamptz, occurred_at timestamptz)
returns boolean
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
  select case
    when kind = 'reauthenticated' or num_nonnulls(methods, authenticated_at) > 0 then (
      cardinality(methods) between 1 and 10
      and array_to_string(methods, ' ') ~ '^[A-Za-z0-9_.:/-]{1,50}( [A-Za-z0-9_.:/-]{1,50})*$'
      and string_to_array(array_to_string(methods, ' '), ' ') = methods
      and authenticated_at <= occurred_at
      and authenticated_at >= '1970-01-01T00:00:00Z'::timestamptz
      and authenticated_at = date_trunc('milliseconds', authenticated_at)
    ) is true
    else true
  end
$$;
--> statement-breakpoint
-- One statement, so that each partition is read once. Postgres parses the constraints anew for each statement that
-- inserts: the shorter they are, the faster is a refresh.
alter table token_ledger.token_event
  drop constraint token_event_shape,
  drop constraint token_event_authentication,
  add constraint token_event_authentication check (case
        when kind = 'rotated' then num_nonnulls(methods, authenticated_at) <> 1
        when kind in ('issued', 'reauthenticated')
          then token_ledger.is_authentication(kind, methods, authenticated_at, occurred_at)
        else num_nonnulls(methods, authenticated_at) = 0
      end),
  add constraint token_event_shape check ((case kind
        when 'issued' then generation = 0
          and num_nonnulls(expires_at, user_id, absolute_expires_at, transport, token_hash) = 5
          and num_nonnulls(salt, attempt_hash, presented_generation, reason, actor_user_id) = 0
        when 'replayed' then presented_generation between 0 and generation - 1
          and (reason = 'same_attempt' or reason = 'grace_window' and presented_generation = generation - 1)
          and num_nonnulls(expires_at, user_id, absolute_expires_at, transport, token_hash, salt, actor_user_id) = 0
        when 'reuse_detected' then presented_generation between 0 and generation - 1
          and num_nonnulls(expires_at, user_id, absolute_expires_at, transport, token_hash, salt, attempt_hash, reason, actor_user_id) = 0
        when 'revoked' then reason in ('logout', 'logout_everywhere', 'user_revoked', 'admin_revoked', 'password_changed', 'user_disabled', 'reuse_elsewhere', 'session_limit')
          and num_nonnulls(expires_at, user_id, absolute_expires_at, transport, token_hash, salt, attempt_hash, presented_generation) = 0
        else kind in ('rotated', 'reauthenticated') and generation >= 1
          and num_nonnulls(expires_at, absolute_expires_at, token_hash, salt) = 4
          and num_nonnulls(user_id, transport, presented_generation, reason, actor_user_id) = 0
      end) is true);
--> statement-breakpoint
create function token_ledger.newest_token(of_family uuid)
returns token_ledger.token_event
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
  select *
  from token_ledger.token_event
  where family_id = of_family and kind in ('issued', 'rotated', 'reauthenticated')
  order by seq desc
  limit 1
$$;
--> statement-breakpoint
-- Each function as in 0027, but for the authentication of a rotation and the grace window of a reauthentication.
create function token_ledger.history_problem(
  seq integer, kind text, generation integer, occurred_at timestamptz, expires_at timestamptz,
  absolute_expires_at timestamptz, reason text, methods text[], authenticated_at timestamptz,
  ip inet, user_agent text, origin_salt bytea,
  last_seq integer, last_kind text, last_generation integer, last_occurred_at timestamptz,
  token_seq integer, token_kind text, token_expires_at timestamptz, token_methods text[],
  token_authenticated_at timestamptz, family_ends_at timestamptz, has_same_family boolean)
returns text
language sql stable parallel safe
return case
  when occurred_at < '1970-01-01T00:00:00Z'::timestamptz
    or occurred_at >= '10000-01-01T00:00:00Z'::timestamptz
    or absolute_expires_at >= '10000-01-01T00:00:00Z'::timestamptz
    then 'its instants are not between 1970 and 9999'
  when expires_at <= occurred_at then 'a token may not expire before it is made'
  when origin_salt is null and num_nonnulls(ip, user_agent) > 0 then 'ip or user_agent without their salt'
  when masklen(ip) < case family(ip) when 4 then 32 else 128 end then 'ip is a network'
  when last_seq is null and seq <> 1 then 'a family begins with seq 1'
  when last_seq is null and kind <> 'issued' then 'a family begins with issued'
  when last_seq is null and has_same_family is null then 'the family row is missing'
  when last_seq is null and not has_same_family then 'the family row differs from the first event'
  when last_seq is null then null
  when seq <> last_seq + 1 then format('seq %s does not follow %s', seq, last_seq)
  when last_kind in ('reuse_detected', 'revoked') then format('the family is over: %s', last_kind)
  when kind = 'issued' then 'a family is issued once'
  when kind in ('rotated', 'reauthenticated') and generation <> last_generation + 1
    then format('generation %s does not follow %s', generation, last_generation)
  when kind in ('rotated', 'reauthenticated') and absolute_expires_at <> family_ends_at
    then 'a rotation does not move the end of the family'
  when kind = 'rotated' and methods is not null
    and (methods, authenticated_at) is distinct from (token_methods, token_authenticated_at)
    then 'a rotation does not change the authentication'
  when kind not in ('rotated', 'reauthenticated') and generation <> last_generation
    then format('%s may not change the generation %s to %s', kind, last_generation, generation)
  when occurred_at < last_occurred_at then 'an event may not come before the last one'
  when occurred_at >= token_expires_at then format('%s after the token had expired', kind)
  when kind = 'replayed' and reason = 'grace_window' and token_kind = 'reauthenticated'
    then 'a reauthentication leaves no grace window'
  when kind = 'replayed' and seq - token_seq > 20 then 'replayed more than 20 times'
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
  -- The newest that made a token.
  token record;
  has_same_family boolean;
  given_hash bytea := new.hash;
  problem text;
begin
  select seq, kind, generation, occurred_at, expires_at, absolute_expires_at, methods, authenticated_at, hash, txid
  into last
  from token_ledger.token_event
  where family_id = new.family_id
  order by seq desc
  limit 1;

  token := last;
  if last.kind = 'replayed' then
    select t.* into token from token_ledger.newest_token(new.family_id) t;
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
    new.seq, new.kind, new.generation, new.occurred_at, new.expires_at, new.absolute_expires_at, new.reason, new.methods,
    new.authenticated_at, new.ip, new.user_agent, new.origin_salt, last.seq, last.kind, last.generation,
    last.occurred_at, token.seq, token.kind, token.expires_at, token.methods, token.authenticated_at,
    token.absolute_expires_at, has_same_family);
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
      select
        p.seq, p.kind, p.generation, p.occurred_at, p.expires_at, p.absolute_expires_at, p.methods, p.authenticated_at,
        p.hash, p.txid
      from token_ledger.token_event p
      where p.family_id = a.family_id and p.seq = a.seq - 1 and p.family_id >= lowest
      offset 0
    ) last on true
    where (
      last.kind in ('issued', 'rotated', 'reauthenticated')
      and token_ledger.history_problem(
        a.seq, a.kind, a.generation, a.occurred_at, a.expires_at, a.absolute_expires_at, a.reason, a.methods,
        a.authenticated_at, a.ip, a.user_agent, a.origin_salt, last.seq, last.kind, last.generation, last.occurred_at,
        last.seq, last.kind, last.expires_at, last.methods, last.authenticated_at, last.absolute_expires_at, null) is null
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
          a.seq, a.kind, a.generation, a.occurred_at, a.expires_at, a.absolute_expires_at, a.reason, a.methods,
          a.authenticated_at, a.ip, a.user_agent, a.origin_salt, last.seq, last.kind, last.generation, last.occurred_at,
          token.seq, token.kind, token.expires_at, token.methods, token.authenticated_at, token.absolute_expires_at,
          family.is_same),
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
    attempt_hash, presented_generation, reason, ip, user_agent, origin_salt, origin_hash, prev_hash, hash, methods,
    authenticated_at, txid)
  select
    e.family_id, e.seq, e.kind, e.generation, e.occurred_at, e.expires_at, e.absolute_expires_at, e.token_hash, e.salt,
    e.attempt_hash, e.presented_generation, e.reason, e.ip, e.user_agent, e.origin_salt, o.origin_hash, last.hash,
    token_ledger.event_hash_of(
      e.family_id, e.seq, last.hash, e.kind, e.generation, e.occurred_at, e.expires_at, e.absolute_expires_at, null, null,
      e.token_hash, e.salt, e.attempt_hash, e.presented_generation, e.reason, null, o.origin_hash,
      last.methods, last.authenticated_at),
    last.methods, last.authenticated_at,
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
    -- What a rotation has of the token that it replaces.
    select
      newest.seq, newest.hash, newest.txid,
      case
        when e.kind <> 'rotated' then null
        when newest.kind = 'replayed' then (token_ledger.newest_token(e.family_id)).methods
        else newest.methods
      end as methods,
      case
        when e.kind <> 'rotated' then null
        when newest.kind = 'replayed' then (token_ledger.newest_token(e.family_id)).authenticated_at
        else newest.authenticated_at
      end as authenticated_at
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
drop function token_ledger.history_problem(
  integer, text, integer, timestamptz, timestamptz, timestamptz, inet, text, bytea, integer, text, integer, timestamptz,
  integer, timestamptz, timestamptz, boolean);
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
  made.methods,
  made.authenticated_at
from token_ledger.token_family f
cross join lateral (
  select
    e.kind,
    e.generation,
    e.occurred_at,
    e.expires_at,
    e.ip,
    e.user_agent,
    e.methods,
    e.authenticated_at
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
left join token_ledger.user_account u on u.user_id = f.user_id;
--> statement-breakpoint
create or replace function token_audit.session_state_at(family_id uuid, at timestamptz)
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
    made.methods,
    made.authenticated_at
  from (
    select e.generation, e.expires_at, e.methods, e.authenticated_at
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
$$;
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
    made.methods,
    made.authenticated_at
  from token_ledger.token_family f
  cross join lateral (
    select e.kind, e.generation, e.occurred_at, e.expires_at, e.ip, e.user_agent, e.methods, e.authenticated_at
    from token_ledger.token_event e
    where e.family_id = f.family_id
      and e.kind in ('issued', 'rotated', 'reauthenticated')
      and e.occurred_at <= sessions_at.at
    order by e.seq desc
    limit 1
  ) made
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
drop index token_ledger.token_event_authentications;
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
      lag(e.methods) over history as before_methods,
      lag(e.authenticated_at) over history as before_authenticated_at,
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
        when e.kind = 'replayed' and e.reason = 'grace_window' and coalesce(token.kind, e.before_kind) = 'reauthenticated'
          then 'replayed in the grace window, but a reauthentication leaves none'
        when e.kind = 'rotated' and num_nonnulls(e.methods, e.authenticated_at) > 0
          and (e.methods, e.authenticated_at) is distinct from (
            coalesce(token.methods, e.before_methods), coalesce(token.authenticated_at, e.before_authenticated_at))
          then 'a rotation changes the authentication'
        when e.kind in ('issued', 'reauthenticated')
          and not token_ledger.is_authentication(e.kind, e.methods, e.authenticated_at, e.occurred_at)
          then 'its authentication is malformed'
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
    left join lateral (
      -- The newest token, where it was replayed since.
      select t.kind, t.methods, t.authenticated_at
      from token_ledger.token_event t
      where e.before_kind = 'replayed' and t.family_id = e.family_id and t.seq = e.made[1]
        and t.family_id between first and last
    ) token on true
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
