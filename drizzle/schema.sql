-- The schema after the last migration, each object once. For reading: only the migrations make or change a database.
-- Written by `npm run schema:dump`; the sentences are in test/schema/rooms.ts.

-- 1. Roles, schemas and the clock
-- 2. The ledger
-- 3. Guards: the ledger is append-only
-- 4. The chain: how events are hashed and appended
-- 5. Partitions: one per month of family_id, a UUIDv7
-- 6. Open families: an index of the ledger
-- 7. Users, admins, keys and limits
-- 8. The log: one list of all hashes, which outsiders can check
-- 9. Audit: views and functions
-- 10. Rights

-- ----------------------------------------------------------------------------
-- 1. Roles, schemas and the clock
-- ----------------------------------------------------------------------------

-- What the server runs as: each of its connections becomes this role. It cannot log in.
create role token_ledger_app nologin;

-- For people and tools that ask in SQL: it reads token_audit and nothing else.
create role token_ledger_auditor nologin;

-- The tables, and the functions that guard them.
create schema token_ledger;

-- The public SQL interface. It returns no token hash, salt or password.
create schema token_audit;

-- Which migrations have been applied.
create schema token_ledger_migrations;

-- The only clock: every instant in the ledger and every expiry check comes from it. Whole milliseconds.
create function token_ledger.clock()
returns timestamptz
language sql
return date_trunc('milliseconds', clock_timestamp());

-- Whether a sign-in or a reauthentication has the methods and the instant that it may or must have: one to ten words
-- that stay the same when they are joined by spaces, so that their hash has one meaning.
create function token_ledger.is_authentication(
  kind text, methods text[], authenticated_at timestamptz, occurred_at timestamptz
)
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

-- ----------------------------------------------------------------------------
-- 2. The ledger
-- ----------------------------------------------------------------------------

-- One row per session (token family), written once at sign-in. Whether the session is still valid follows from its
-- events alone. Transactions lock this row with SELECT … FOR UPDATE, which needs the right to update a column: that
-- column is lock_mark, and it stays 0.
create table token_ledger.token_family (
  family_id uuid not null,
  user_id uuid not null,
  transport text not null,
  device_name text,
  created_at timestamptz not null,
  absolute_expires_at timestamptz not null,
  lock_mark smallint not null default 0,
  constraint token_family_pkey primary key (family_id),
  constraint token_family_device_name_short check (length(device_name) <= 100),
  constraint token_family_expires_later check (absolute_expires_at > created_at),
  constraint token_family_transport_known check (transport in ('cookie', 'body'))
)
partition by range (family_id);
create index token_family_by_user on token_ledger.token_family (user_id, family_id);

-- One row per event, numbered by seq within its family. Append-only, with two exceptions: erasing a person nulls ip,
-- user_agent and origin_salt, and archiving drops the partition of a past month. The constraint token_event_shape says
-- which columns each kind of event has.
create table token_ledger.token_event (
  family_id uuid not null,
  seq integer not null,
  kind text not null,
  generation integer not null,
  occurred_at timestamptz not null,
  expires_at timestamptz,
  absolute_expires_at timestamptz,
  user_id uuid,
  transport text,
  token_hash bytea,
  salt bytea,
  attempt_hash bytea,
  presented_generation integer,
  reason text,
  actor_user_id uuid,
  ip inet,
  user_agent text,
  origin_salt bytea,
  origin_hash bytea not null,
  prev_hash bytea,
  hash bytea not null,
  txid xid8 not null default pg_current_xact_id(),
  methods text[],
  authenticated_at timestamptz,
  constraint token_event_family_id_seq_pk primary key (family_id, seq),
  constraint token_event_authentication check (
    case
      when kind = 'rotated' then num_nonnulls(methods, authenticated_at) <> 1
      when kind in ('issued', 'reauthenticated') then token_ledger.is_authentication(
          kind, methods, authenticated_at, occurred_at
        )
      else num_nonnulls(methods, authenticated_at) = 0
    end
  ),
  constraint token_event_expires_in_time check (expires_at <= absolute_expires_at),
  constraint token_event_seq_positive check (seq >= 1),
  constraint token_event_shape check (
    case kind
      when 'issued' then generation = 0
        and num_nonnulls(expires_at, user_id, absolute_expires_at, transport, token_hash) = 5
        and num_nonnulls(salt, attempt_hash, presented_generation, reason, actor_user_id) = 0
      when 'replayed' then presented_generation >= 0
        and presented_generation <= generation - 1
        and (
          reason = 'same_attempt'
          or reason = 'grace_window' and presented_generation = generation - 1
        )
        and num_nonnulls(
          expires_at, user_id, absolute_expires_at, transport, token_hash, salt, actor_user_id
        ) = 0
      when 'reuse_detected' then presented_generation >= 0
        and presented_generation <= generation - 1
        and num_nonnulls(
          expires_at, user_id, absolute_expires_at, transport, token_hash, salt, attempt_hash,
          reason, actor_user_id
        ) = 0
      when 'revoked' then reason in (
          'logout', 'logout_everywhere', 'user_revoked', 'admin_revoked', 'password_changed',
          'user_disabled', 'reuse_elsewhere', 'session_limit'
        )
        and num_nonnulls(
          expires_at, user_id, absolute_expires_at, transport, token_hash, salt, attempt_hash,
          presented_generation
        ) = 0
      else (kind in ('rotated', 'reauthenticated'))
        and generation >= 1
        and num_nonnulls(expires_at, absolute_expires_at, token_hash, salt) = 4
        and num_nonnulls(user_id, transport, presented_generation, reason, actor_user_id) = 0
    end is true
  ),
  constraint token_event_sizes check (
    length(token_hash) = 32
    and length(salt) = 16
    and length(attempt_hash) = 32
    and length(origin_hash) = 32
    and length(origin_salt) = 16
    and length(hash) = 32
    and length(prev_hash) = 32
    and length(user_agent) <= 512
  ),
  constraint token_event_whole_milliseconds check (
    occurred_at = date_trunc('milliseconds', occurred_at)
    and expires_at = date_trunc('milliseconds', expires_at)
    and absolute_expires_at = date_trunc('milliseconds', absolute_expires_at)
  )
)
partition by range (family_id);
alter table token_ledger.token_event alter column family_id set (n_distinct_inherited = -0.02);
create index token_event_by_time on token_ledger.token_event using brin (occurred_at)
with (autosummarize='true');
create index token_event_by_txid on token_ledger.token_event (txid, family_id, seq);
create index token_event_ends on token_ledger.token_event (occurred_at, family_id)
where kind in ('revoked', 'reuse_detected');
create index token_event_reuse on token_ledger.token_event (occurred_at, family_id)
where kind = 'reuse_detected';

-- ----------------------------------------------------------------------------
-- 3. Guards: the ledger is append-only
-- ----------------------------------------------------------------------------

-- Whether this session applies rows that another database decided: the worker of a logical replica, or a restore. The
-- service never does: it may not write a hash.
create function token_ledger.is_applying()
returns boolean
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return current_setting('session_replication_role') = 'replica'
    and has_column_privilege('token_ledger.token_event'::regclass, 'hash', 'insert')
    and current_setting('token_ledger.appends', true) is distinct from 'yes';
end
$$;

-- Refuses the statement (SQLSTATE TL001).
create function token_ledger.refuse_change()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception '%.% is append-only: % refused', tg_table_schema, tg_table_name, lower(tg_op)
    using errcode = 'TL001';
end
$$;

create trigger refuse_delete before delete on token_ledger.token_event
for each row execute function token_ledger.refuse_change();
alter table token_ledger.token_event enable always trigger refuse_delete;

create trigger refuse_truncate before truncate on token_ledger.token_event
for each statement execute function token_ledger.refuse_change();
alter table token_ledger.token_event enable always trigger refuse_truncate;

create trigger refuse_delete before delete on token_ledger.token_family
for each row execute function token_ledger.refuse_change();
alter table token_ledger.token_family enable always trigger refuse_delete;

create trigger refuse_truncate before truncate on token_ledger.token_family
for each statement execute function token_ledger.refuse_change();
alter table token_ledger.token_family enable always trigger refuse_truncate;

-- Allows one change of an event: erasing ip and user_agent with the salt of their hash.
create function token_ledger.refuse_event_change()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
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

create trigger refuse_update before update on token_ledger.token_event
for each row execute function token_ledger.refuse_event_change();
alter table token_ledger.token_event enable always trigger refuse_update;

-- Allows one change of a family: erasing the device name.
create function token_ledger.refuse_family_change()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
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

create trigger refuse_update before update on token_ledger.token_family
for each row execute function token_ledger.refuse_family_change();
alter table token_ledger.token_family enable always trigger refuse_update;

-- ----------------------------------------------------------------------------
-- 4. The chain: how events are hashed and appended
-- ----------------------------------------------------------------------------

-- A field of a hashed record: its length, then its bytes. Null is the length -1.
create function token_ledger.field(value bytea)
returns bytea
language sql immutable parallel safe
return coalesce(int4send(length(value)) || value, '\xffffffff'::bytea);

-- The hash of the address and user agent of a caller. The chain covers this hash, not the two themselves, so that they
-- can be erased.
create function token_ledger.origin_hash(salt bytea, ip inet, user_agent text)
returns bytea
language sql stable parallel safe
return sha256(
  token_ledger.field(salt)
  || token_ledger.field(convert_to(host(ip), 'UTF8'))
  || token_ledger.field(convert_to(user_agent, 'UTF8'))
);

-- The hash of an event. Version 1 is this list of fields without the last two; an event that has one of them has
-- version 2.
create function token_ledger.event_hash_of(
  family_id uuid, seq integer, prev_hash bytea, kind text, generation integer,
  occurred_at timestamptz, expires_at timestamptz, absolute_expires_at timestamptz, user_id uuid,
  transport text, token_hash bytea, salt bytea, attempt_hash bytea, presented_generation integer,
  reason text, actor_user_id uuid, origin_hash bytea, methods text[], authenticated_at timestamptz
)
returns bytea
language sql stable parallel safe
return sha256(
  convert_to(
    case
      when ((methods is null) and (authenticated_at is null)) then 'token-ledger/v1'
      else 'token-ledger/v2'
    end,
    'UTF8'
  )
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
  || case
    when ((methods is null) and (authenticated_at is null)) then '\x'::bytea
    else (
        token_ledger.field(convert_to(array_to_string(methods, ' '), 'UTF8'))
        || token_ledger.field(timestamptz_send(authenticated_at))
      )
  end
);

-- The same, of a row.
create function token_ledger.event_hash(e token_ledger.token_event)
returns bytea
language sql stable parallel safe
return token_ledger.event_hash_of(
  (e).family_id, (e).seq, (e).prev_hash, (e).kind, (e).generation, (e).occurred_at, (e).expires_at,
  (e).absolute_expires_at, (e).user_id, (e).transport, (e).token_hash, (e).salt, (e).attempt_hash,
  (e).presented_generation, (e).reason, (e).actor_user_id, (e).origin_hash, (e).methods,
  (e).authenticated_at
);

-- The newest event of a family that made a token.
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

-- The rules of a legal history: the problem of an event after those before it, or null. `last_` is the newest event,
-- `token_` the newest that made a token.
create function token_ledger.history_problem(
  seq integer, kind text, generation integer, occurred_at timestamptz, expires_at timestamptz,
  absolute_expires_at timestamptz, reason text, methods text[], authenticated_at timestamptz,
  ip inet, user_agent text, origin_salt bytea, last_seq integer, last_kind text,
  last_generation integer, last_occurred_at timestamptz, token_seq integer, token_kind text,
  token_expires_at timestamptz, token_methods text[], token_authenticated_at timestamptz,
  family_ends_at timestamptz, has_same_family boolean
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
  when (
      kind in ('rotated', 'reauthenticated') and (generation <> last_generation + 1)
    ) then format('generation %s does not follow %s', generation, last_generation)
  when (
      kind in ('rotated', 'reauthenticated') and (absolute_expires_at <> family_ends_at)
    ) then 'a rotation does not move the end of the family'
  when (
      (kind = 'rotated')
      and (methods is not null)
      and (
        (methods is distinct from token_methods)
        or (authenticated_at is distinct from token_authenticated_at)
      )
    ) then 'a rotation does not change the authentication'
  when (
      (kind <> all (array['rotated', 'reauthenticated'])) and (generation <> last_generation)
    ) then format('%s may not change the generation %s to %s', kind, last_generation, generation)
  when (occurred_at < last_occurred_at) then 'an event may not come before the last one'
  when (occurred_at >= token_expires_at) then format('%s after the token had expired', kind)
  when (
      (kind = 'replayed') and (reason = 'grace_window') and (token_kind = 'reauthenticated')
    ) then 'a reauthentication leaves no grace window'
  when ((kind = 'replayed') and ((seq - token_seq) > 20)) then 'replayed more than 20 times'
end;

-- Checks that a new event continues its family (TL002), then sets txid, origin_hash, prev_hash and hash. A txid is
-- never below that of the event before it, so that readers who follow (txid, family_id, seq) get a family's events in
-- order.
create function token_ledger.chain_event()
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

create trigger chain_event before insert on token_ledger.token_event
for each row
when (new.hash is null or new.txid <> pg_current_xact_id() and not token_ledger.is_applying())
execute function token_ledger.chain_event();
alter table token_ledger.token_event enable always trigger chain_event;

-- Checks the events that a statement inserted (TL002): each has to continue its family, with the hash that chain_event
-- would have given it.
create function token_ledger.check_chained()
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

create trigger check_chained after insert on token_ledger.token_event referencing new table as appended
for each statement execute function token_ledger.check_chained();
alter table token_ledger.token_event enable always trigger check_chained;

-- Adds that check to the table or to a partition: a statement trigger does not come with a partition.
create function token_ledger.check_table(name text)
returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  execute format(
    'create trigger check_chained after insert on token_ledger.%I referencing new table as appended for each statement '
    'execute function token_ledger.check_chained()',
    name);
  execute format('alter table token_ledger.%I enable always trigger check_chained', name);
end
$$;

-- Takes an event that another database decided, in any order: compares its hash with the content and with the events
-- before and after it that are there (TL002).
create function token_ledger.compare_event()
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

create trigger compare_event before insert on token_ledger.token_event
for each row
when (new.hash is not null and token_ledger.is_applying())
execute function token_ledger.compare_event();
alter table token_ledger.token_event enable always trigger compare_event;

-- Refuses a family without its first event (TL002) when the transaction ends, because the family row comes first.
create function token_ledger.expect_first_event()
returns trigger
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

create constraint trigger expect_first_event after insert on token_ledger.token_family deferrable initially deferred
for each row
when (not token_ledger.is_applying())
execute function token_ledger.expect_first_event();
alter table token_ledger.token_family enable always trigger expect_first_event;

-- The /24 of an IPv4 address or the /64 of an IPv6 address.
create function token_ledger.network_of(ip inet)
returns cidr
language sql immutable parallel safe strict
return network(set_masklen(ip, case family(ip) when 4 then 24 else 64 end));

-- One row per replay that made three generations in a row replayed from another network than that of the rotation. It
-- names the event and holds no address.
create table token_ledger.replay_suspicion (
  family_id uuid not null,
  seq integer not null,
  occurred_at timestamptz not null,
  constraint replay_suspicion_family_id_seq_pk primary key (family_id, seq)
);
create index replay_suspicion_by_time on token_ledger.replay_suspicion (occurred_at, family_id);

-- Writes that row. A replay calls it, a rotation does not.
create function token_ledger.suspect_replay()
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

create trigger suspect_replay after insert on token_ledger.token_event
for each row
when (new.kind = 'replayed' and not token_ledger.is_applying())
execute function token_ledger.suspect_replay();
alter table token_ledger.token_event enable always trigger suspect_replay;

-- Appends one event to each of these families and chains it, except those that another transaction has locked or
-- appended to since the caller read them. Returns the families that got their event. It runs as the owner, because the
-- service may not write a hash.
create function token_ledger.append_unless_changed(family_ids uuid[], events json)
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

-- The same for sign-outs: each of these families gets its end, and followers get one notification for all.
create function token_ledger.append_ends(family_ids uuid[], events json)
returns setof uuid
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

-- Starts a session: locks the row of its user, then writes the family and its first event. Writes neither when all
-- sessions of the user were ended since the caller read the epoch, or when too many families are open.
create function token_ledger.begin_family(beginning json)
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
    methods text[], authenticated_at timestamptz, subject text);

  -- Older processes take a directory's UUID as it is, also one that is derived from the id of another user.
  if token_ledger.is_derived(b.user_id) and b.subject is null then
    raise exception 'the user id % has the form of one that is derived from a text', b.user_id;
  end if;

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
    perform token_ledger.keep_subject(b.subject) where b.subject is not null;
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

-- ----------------------------------------------------------------------------
-- 5. Partitions: one per month of family_id, a UUIDv7
-- ----------------------------------------------------------------------------

-- The lowest family_id of an instant.
create function token_ledger.first_family_id(at timestamptz)
returns uuid
language sql immutable parallel safe
return (rpad(lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0'), 32, '0'))::uuid;

-- The highest family_id of the millisecond before an instant.
create function token_ledger.last_family_id_before(at timestamptz)
returns uuid
language sql immutable parallel safe
return (
  "left"(replace((token_ledger.first_family_id(at - '00:00:00.001'::interval))::text, '-', ''), 12)
  || repeat('f', 20)
)::uuid;

-- Row triggers of a table apply to its partitions; a truncate trigger does not, and is added here.
create function token_ledger.guard_partition(part text)
returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  execute format(
    'create trigger refuse_truncate before truncate on token_ledger.%I for each statement execute function token_ledger.refuse_change()',
    part);
  execute format('alter table token_ledger.%I enable always trigger refuse_truncate', part);
end
$$;

-- Tells the planner that families have about fifty events. By its own estimate, made while families are young, it would
-- read whole families where the newest event is enough.
create function token_ledger.expect_long_families(part text)
returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  execute format('alter table token_ledger.%I alter column family_id set (n_distinct = -0.02)', part);
end
$$;

-- Takes families that no month takes, so that a sign-in never fails for want of a partition.
create table token_ledger.token_family_default partition of token_ledger.token_family default;

create trigger refuse_truncate before truncate on token_ledger.token_family_default
for each statement execute function token_ledger.refuse_change();
alter table token_ledger.token_family_default enable always trigger refuse_truncate;

-- Takes the events of these families.
create table token_ledger.token_event_default partition of token_ledger.token_event default;
alter table token_ledger.token_event_default alter column family_id set (n_distinct = -0.02);

create trigger check_chained after insert on token_ledger.token_event_default referencing new table as appended
for each statement execute function token_ledger.check_chained();
alter table token_ledger.token_event_default enable always trigger check_chained;

create trigger refuse_truncate before truncate on token_ledger.token_event_default
for each statement execute function token_ledger.refuse_change();
alter table token_ledger.token_event_default enable always trigger refuse_truncate;

-- Copies rows of the default partition to a new table that can become a partition.
create function token_ledger.copy_unattached(parent text, part text, condition text)
returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  execute format(
    'create unlogged table token_ledger.%I (like token_ledger.%I including defaults including constraints)', part, parent);
  execute format('insert into token_ledger.%I select * from token_ledger.%I where %s', part, parent || '_default', condition);
  execute format('alter table token_ledger.%I set logged', part);
end
$$;

-- What a new partition needs that it does not get from its table.
create function token_ledger.finish_partition(parent text, part text)
returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform token_ledger.guard_partition(part);
  if parent = 'token_event' then
    perform token_ledger.expect_long_families(part);
    perform token_ledger.check_table(part);
  end if;
end
$$;

-- Makes the partitions token_family_YYYYMM and token_event_YYYYMM where they are missing, and moves the rows there that
-- the default partition has of this month, as they are. They depend on the date and are not shown here.
create function token_ledger.make_month(month timestamptz, max_rows bigint default null::bigint)
returns integer
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
declare
  first_id uuid := token_ledger.first_family_id(month);
  next_id uuid := token_ledger.first_family_id(month + interval '1 month');
  parent text;
  part text;
  rest text;
  found_rows bigint;
  made integer := 0;
begin
  foreach parent in array array['token_family', 'token_event'] loop
    part := parent || to_char(month, '_YYYYMM');
    rest := parent || '_default';
    continue when to_regclass(format('token_ledger.%I', part)) is not null;
    -- In front of the look into the default partition, so that no sign-in adds a row in between.
    execute format('lock table only token_ledger.%I in access exclusive mode', parent);
    execute format(
      'select count(*) from (select from token_ledger.%I where family_id >= %L and family_id < %L limit %s) r',
      rest, first_id, next_id, coalesce(max_rows + 1, 1))
    into found_rows;
    if found_rows > max_rows then
      raise exception '% has more than % rows of %: the owner can move them with select token_ledger.make_month(''%'')',
        rest, max_rows, to_char(month, 'YYYYMM'), to_char(month, 'YYYY-MM-DD"Z"')
        using errcode = 'program_limit_exceeded';
    end if;
    if found_rows > 0 then
      perform token_ledger.copy_unattached(parent, part, format('family_id >= %L and family_id < %L', first_id, next_id));
      perform token_ledger.copy_unattached(parent, 'rest', format('family_id < %L or family_id >= %L', first_id, next_id));
      execute format('drop table token_ledger.%I', rest);
      execute format('alter table token_ledger.rest rename to %I', rest);
      execute format('alter table token_ledger.%I attach partition token_ledger.%I default', parent, rest);
      execute format(
        'alter table token_ledger.%I attach partition token_ledger.%I for values from (%L) to (%L)',
        parent, part, first_id, next_id);
      perform token_ledger.finish_partition(parent, rest);
    else
      execute format(
        'create table token_ledger.%I partition of token_ledger.%I for values from (%L) to (%L)',
        part, parent, first_id, next_id);
    end if;
    perform token_ledger.finish_partition(parent, part);
    made := made + 1;
  end loop;
  return made;
end
$$;

-- Makes the months from this one on, at most 24 ahead. A month that cannot be made does not keep the others from being
-- made; its problem is raised when there is nothing else to make.
create function token_ledger.ensure_partitions(months_ahead integer default 3)
returns integer
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
declare
  month timestamptz;
  made integer := 0;
  problem text;
  problem_code text;
begin
  if months_ahead is null or months_ahead not between 0 and 24 then
    raise exception 'months_ahead must be from 0 to 24' using errcode = 'invalid_parameter_value';
  end if;
  -- Several processes start at once: one makes them, the others find them.
  perform token_ledger.take_turn('partitions');
  for month in
    select generate_series(date_trunc('month', now()), date_trunc('month', now()) + months_ahead * interval '1 month', '1 month')
  loop
    begin
      -- A copy of so many takes a second or two, and a statement of the service may run for ten.
      made := made + token_ledger.make_month(month, 100000);
    exception
      -- The next month would wait as long again.
      when lock_not_available then raise;
      when others then
        problem := coalesce(problem, sqlerrm);
        problem_code := coalesce(problem_code, sqlstate);
    end;
  end loop;
  if made = 0 and problem is not null then
    raise exception '%', problem using errcode = problem_code;
  end if;
  return made;
end
$$;

-- Makes the months that ended before an instant and have families in the default partition. `ledger archive` calls it.
create function token_ledger.make_closed_months(before timestamptz)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
declare
  month timestamptz;
  made integer := 0;
begin
  perform token_ledger.take_turn('partitions');
  -- An array, because make_month replaces the table that a loop over a query would still read.
  foreach month in array array(
    select distinct date_trunc('month', to_timestamp(
      ('x' || left(replace(f.family_id::text, '-', ''), 12))::bit(48)::bigint / 1000.0))
    from token_ledger.token_family_default f
    where f.family_id < token_ledger.first_family_id(date_trunc('month', least(before, token_ledger.clock())))
    order by 1
  ) loop
    made := made + token_ledger.make_month(month);
  end loop;
  return made;
end
$$;

-- Months that ended before an instant, with the lowest and the highest family_id of each: what can be archived.
create function token_ledger.closed_months(before timestamptz)
returns table(month text, first_id uuid, last_id uuid)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
declare
  part text;
  begins timestamptz;
begin
  for part in
    select c.relname
    from pg_inherits i
    join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'token_ledger.token_family'::regclass and c.relname ~ '^token_family_\d{6}$'
    order by c.relname
  loop
    month := right(part, 6);
    begins := to_timestamp(month, 'YYYYMM');
    continue when begins + interval '1 month' > least(before, token_ledger.clock());
    first_id := token_ledger.first_family_id(begins);
    last_id := token_ledger.last_family_id_before(begins + interval '1 month');
    return next;
  end loop;
end
$$;

-- ----------------------------------------------------------------------------
-- 6. Open families: an index of the ledger
-- ----------------------------------------------------------------------------

-- One row per family that may be active, by user: what lists of active sessions, the limit of sessions and "end all
-- sessions" read. The events decide whether a family is valid. Verification compares the two.
create table token_ledger.open_family (
  family_id uuid not null,
  user_id uuid not null,
  absolute_expires_at timestamptz not null,
  constraint open_family_pkey primary key (family_id)
);
create index open_family_by_user on token_ledger.open_family (user_id, family_id);

-- Adds a family with its first event and removes it with its end, in the same transaction. A sign-in also removes
-- families of its user that expired an hour ago or earlier.
create function token_ledger.keep_open_families()
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

create trigger keep_open_families after insert on token_ledger.token_event
for each row
when (new.kind in ('issued', 'revoked', 'reuse_detected') and not token_ledger.is_applying())
execute function token_ledger.keep_open_families();
alter table token_ledger.token_event enable always trigger keep_open_families;

-- Removes families whose absolute expiry is an hour ago or earlier. Each process calls it once a day.
create function token_ledger.sweep_open_families()
returns integer
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  swept integer;
begin
  delete from token_ledger.open_family o
  where o.family_id in (
    select expired.family_id
    from token_ledger.open_family expired
    where expired.absolute_expires_at < token_ledger.clock() - interval '1 hour'
    for update skip locked
  );
  get diagnostics swept = row_count;
  return swept;
end
$$;

-- Makes the table anew from the events. Sign-ins and ends wait for it; rotations do not. For the owner.
create function token_ledger.rebuild_open_families()
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  filled integer;
begin
  lock table token_ledger.open_family in share row exclusive mode;
  delete from token_ledger.open_family;
  insert into token_ledger.open_family (family_id, user_id, absolute_expires_at)
  select f.family_id, f.user_id, f.absolute_expires_at
  from token_ledger.token_family f
  where f.absolute_expires_at > token_ledger.clock()
    and not exists (
      select
      from token_ledger.token_event ended
      where ended.family_id = f.family_id and ended.kind in ('revoked', 'reuse_detected')
    );
  get diagnostics filled = row_count;
  return filled;
end
$$;

-- Families of a range where the table contradicts the events: verification calls it.
create function token_ledger.check_open_families(first uuid, last uuid)
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

-- ----------------------------------------------------------------------------
-- 7. Users, admins, keys and limits
-- ----------------------------------------------------------------------------

-- The id that the ledger has for a user: a UUID in lower case stands for itself, unless its version is 8. Those are
-- derived from every other text, by SHA-256. db/subjects.ts does the same.
create function token_audit.user_id(subject text)
returns uuid
language sql immutable parallel safe strict
set search_path = pg_catalog, pg_temp
as $$
  select
    case
      when subject ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
        and subject !~ '^.{14}8.{4}[89ab]'
        then subject::uuid
      else (
        select
          encode(
            set_byte(
              set_byte(h.bytes, 6, get_byte(h.bytes, 6) & 15 | 128),
              8, get_byte(h.bytes, 8) & 63 | 128
            ),
            'hex'
          )::uuid
        from (
          select substr(sha256(convert_to('token-ledger user: ' || subject, 'UTF8')), 1, 16) as bytes
        ) h
      )
    end
$$;

-- The text of each derived id. A check binds the id to the text, so a row cannot give one user the sessions of another.
-- Written once; erasing a person deletes the row.
create table token_ledger.user_subject (
  user_id uuid not null,
  subject text not null,
  constraint user_subject_pkey primary key (user_id),
  constraint user_subject_derived check (
    user_id = token_audit.user_id(subject) and user_id::text <> subject
  ),
  constraint user_subject_shape check (
    char_length(subject) >= 1
    and char_length(subject) <= 255
    and (subject collate "C") !~ '[\u0001-\u001f\u007f-\u009f]'
  )
);

create trigger refuse_truncate before truncate on token_ledger.user_subject
for each statement execute function token_ledger.refuse_change();
alter table token_ledger.user_subject enable always trigger refuse_truncate;

create trigger refuse_update before update on token_ledger.user_subject
for each row execute function token_ledger.refuse_change();
alter table token_ledger.user_subject enable always trigger refuse_update;

-- Whether an id has the form of those that are derived from a text: UUIDs of version 8.
create function token_ledger.is_derived(user_id uuid)
returns boolean
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
  select user_id::text ~ '^.{14}8.{4}[89ab]'
$$;

-- Writes the text of a derived id, where there is one and it is not known.
create function token_ledger.keep_subject(kept text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  id constant uuid := token_audit.user_id(kept);
begin
  if id::text = kept then
    return;
  end if;
  insert into token_ledger.user_subject (user_id, subject)
  values (id, kept)
  on conflict (user_id) do nothing;
  -- In a statement of its own, which sees a row that another transaction has just written. 122 bits of SHA-256 do not
  -- collide by chance; if they ever do, no session begins.
  if not exists (select from token_ledger.user_subject s where s.user_id = id and s.subject = kept) then
    raise exception 'the ids of two users have the same hash';
  end if;
end
$$;

-- The service's own user directory. The ledger does not refer to it: an application may bring its own.
create table token_ledger.user_account (
  user_id uuid not null,
  email text,
  password_hash text not null,
  role text not null,
  disabled_at timestamptz,
  created_at timestamptz not null default token_ledger.clock(),
  constraint user_account_pkey primary key (user_id),
  constraint user_account_email_taken unique (email),
  constraint user_account_email_canonical check (
    (
      email collate "C"
    ) ~ '^[a-z0-9!#$%&''*+/=?^_`{|}~-]+([.][a-z0-9!#$%&''*+/=?^_`{|}~-]+)*@([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?[.])*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'
    and (email collate "C") !~ '[.@][0-9]+$'
    and strpos(email, '@') <= 65
  ),
  constraint user_account_email_length check (length(email) >= 3 and length(email) <= 254),
  constraint user_account_not_derived check (user_id::text !~ '^.{14}8.{4}[89ab]'),
  constraint user_account_role_known check (role in ('user', 'admin'))
);
create index user_account_by_prefix on token_ledger.user_account (email collate "C");

-- Work that one transaction does at a time, a row each. Only the owner can lock a row; the service does it by
-- take_turn.
create table token_ledger.turn (
  name text not null,
  constraint turn_pkey primary key (name)
);

-- Locks a turn until the transaction ends. After five seconds it raises 55P03, and names the session that has it.
create function token_ledger.take_turn(turn_name text)
returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  deadline timestamptz := clock_timestamp() + interval '5 seconds';
  holder text;
begin
  loop
    perform from token_ledger.turn t where t.name = turn_name for update skip locked;
    if found then
      return;
    end if;
    exit when clock_timestamp() > deadline;
    perform pg_sleep(0.02);
  end loop;

  -- A row that was locked in a subtransaction leads to no session: then it is one of those that use the table.
  select string_agg(format('pid %s, user %s, application "%s"', a.pid, a.usename, a.application_name), '; ') into holder
  from (
    select l.pid, rank() over (order by l.locktype = 'transactionid' desc) as place
    from token_ledger.turn t
    join pg_locks l
      on l.locktype = 'transactionid' and l.transactionid = t.xmax
      or l.locktype = 'relation' and l.relation = t.tableoid
        and l.database = (select oid from pg_database where datname = current_database())
    where t.name = turn_name and l.granted and l.pid <> pg_backend_pid()
  ) h
  join pg_stat_activity a on a.pid = h.pid
  where h.place = 1;
  raise exception 'the turn % is held by %', turn_name, coalesce(holder, 'a transaction that is over by now')
    using errcode = 'lock_not_available';
end
$$;

-- Skips a turn that comes by replication or from a dump, because the migrations have made it.
create function token_ledger.skip_known_turn()
returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if exists (select from token_ledger.turn t where t.name = new.name) then
    return null;
  end if;
  return new;
end
$$;

create trigger skip_known_turn before insert on token_ledger.turn
for each row
when (token_ledger.is_applying())
execute function token_ledger.skip_known_turn();
alter table token_ledger.turn enable always trigger skip_known_turn;

-- Raises TL003 rather than let the last enabled admin lose the role or be disabled.
create function token_ledger.keep_an_admin()
returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform token_ledger.take_turn('keep_an_admin');
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

create trigger keep_an_admin before update on token_ledger.user_account
for each row
when (
  old.role = 'admin'
  and old.disabled_at is null
  and (new.role <> 'admin' or new.disabled_at is not null)
)
execute function token_ledger.keep_an_admin();

-- One row per user who ever signed in, locked by each sign-in and by "end all sessions". A sign-in reads epoch before
-- it checks the password and compares it before it writes; ending all sessions raises it.
create table token_ledger.user_epoch (
  user_id uuid not null,
  epoch integer not null default 0,
  constraint user_epoch_pkey primary key (user_id)
);

-- Ends the sessions of a user whose row was deleted by SQL, and invalidates sign-ins in progress. The service deletes
-- no user: an erasure keeps the row.
create function token_ledger.end_sessions_of_deleted_user()
returns trigger
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

create trigger end_sessions_of_deleted_user after delete on token_ledger.user_account
for each row
when (not token_ledger.is_applying())
execute function token_ledger.end_sessions_of_deleted_user();
alter table token_ledger.user_account enable always trigger end_sessions_of_deleted_user;

-- What admins and the command line did, and the reason they gave; append-only. actor_user_id is null for the command
-- line.
create table token_ledger.admin_action (
  action_id bigint not null generated always as identity,
  occurred_at timestamptz not null default token_ledger.clock(),
  actor_user_id uuid,
  action text not null,
  target_user_id uuid,
  family_id uuid,
  role text,
  reason text,
  prev_hash bytea,
  hash bytea not null,
  txid xid8 not null default pg_current_xact_id(),
  constraint admin_action_pkey primary key (action_id),
  constraint admin_action_known check (
    action in (
      'user_created', 'role_set', 'user_disabled', 'user_enabled', 'user_erased', 'session_revoked',
      'sessions_revoked', 'ledger_archived', 'ledger_restored', 'checkpoint_overruled'
    )
  ),
  constraint admin_action_reason_short check (length(reason) <= 500),
  constraint admin_action_sizes check (length(hash) = 32 and length(prev_hash) = 32)
);
create index admin_action_by_family on token_ledger.admin_action (family_id);
create index admin_action_by_target on token_ledger.admin_action (target_user_id, action_id);
create index admin_action_by_txid on token_ledger.admin_action (txid, action_id);

create trigger refuse_change before delete or update on token_ledger.admin_action
for each row execute function token_ledger.refuse_change();
alter table token_ledger.admin_action enable always trigger refuse_change;

create trigger refuse_truncate before truncate on token_ledger.admin_action
for each statement execute function token_ledger.refuse_change();
alter table token_ledger.admin_action enable always trigger refuse_truncate;

-- Keeps the numbers of admin_action going on a replica: a sequence is not replicated.
create function token_ledger.continue_numbering()
returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform setval('token_ledger.admin_action_action_id_seq', new.action_id)
  from token_ledger.admin_action_action_id_seq
  where new.action_id >= last_value;
  return null;
end
$$;

create trigger continue_numbering after insert on token_ledger.admin_action
for each row
when (token_ledger.is_applying())
execute function token_ledger.continue_numbering();
alter table token_ledger.admin_action enable always trigger continue_numbering;

-- Keys that sign access tokens. The private half is sealed with a key derived from AUTH_SECRET, which binds it to kid,
-- created_at and signs_from. public_jwk is for versions before 0016; nothing reads it.
create table token_ledger.signing_key (
  kid text not null,
  public_jwk jsonb not null,
  sealed_private_key bytea not null,
  created_at timestamptz not null,
  signs_from timestamptz not null,
  constraint signing_key_pkey primary key (kid)
);

-- Keys that were deleted; append-only. A signing_key whose kid is here is not used.
create table token_ledger.signing_key_removal (
  kid text not null,
  removed_at timestamptz not null default token_ledger.clock(),
  constraint signing_key_removal_pkey primary key (kid)
);

create trigger refuse_change before delete or update on token_ledger.signing_key_removal
for each row execute function token_ledger.refuse_change();
alter table token_ledger.signing_key_removal enable always trigger refuse_change;

create trigger refuse_truncate before truncate on token_ledger.signing_key_removal
for each statement execute function token_ledger.refuse_change();
alter table token_ledger.signing_key_removal enable always trigger refuse_truncate;

-- Adds a deleted key to signing_key_removal, so that its row may come back but is not used again.
create function token_ledger.remember_removed_key()
returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into token_ledger.signing_key_removal (kid) values (old.kid) on conflict do nothing;
  return null;
end
$$;

create trigger remember_removed_key after delete on token_ledger.signing_key
for each row
when (not token_ledger.is_applying())
execute function token_ledger.remember_removed_key();
alter table token_ledger.signing_key enable always trigger remember_removed_key;

-- The lives of this database: one row from its first start, and one more for each `ledger restored`.
create table token_ledger.incarnation (
  incarnation_id uuid not null default gen_random_uuid(),
  began_at timestamptz not null default token_ledger.clock(),
  copy_of timestamptz,
  noticed_copy_of timestamptz,
  constraint incarnation_pkey primary key (incarnation_id)
);

-- When each process last saw this database. A process that remembers a later time, or a row that is missing, sees a
-- restored copy. started_at, version and lag_ms (how far it is behind the ends of sessions) are for people.
create table token_ledger.process_mark (
  mark_id uuid not null default gen_random_uuid(),
  seen_at timestamptz not null default token_ledger.clock(),
  started_at timestamptz,
  version text,
  lag_ms integer,
  constraint process_mark_pkey primary key (mark_id)
);

-- Counts of the rate limits. A key is a limit and what it counts; accounts are keyed hashes. expire is in epoch ms.
create table token_ledger.rate_limit (
  key varchar(255) not null,
  points integer not null default 0,
  expire bigint,
  constraint rate_limit_pkey primary key (key)
);
create index rate_limit_expire on token_ledger.rate_limit (expire);

-- Nulls the addresses, user agents and device names of a user, and deletes the text of a derived id. The hashes stay.
-- Returns the number of rows that held something.
create function token_ledger.erase_traces(erased_user_id uuid)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  erased integer;
  renamed integer;
  forgotten integer;
begin
  update token_ledger.token_event e
  set ip = null, user_agent = null, origin_salt = null
  where num_nonnulls(e.ip, e.user_agent, e.origin_salt) > 0
    and (
      e.actor_user_id = erased_user_id
      or e.family_id in (select f.family_id from token_ledger.token_family f where f.user_id = erased_user_id)
    );
  get diagnostics erased = row_count;
  update token_ledger.token_family f
  set device_name = null
  where f.user_id = erased_user_id and f.device_name is not null;
  get diagnostics renamed = row_count;
  delete from token_ledger.user_subject s where s.user_id = erased_user_id;
  get diagnostics forgotten = row_count;
  return erased + renamed + forgotten;
end
$$;

-- Revokes TEMPORARY on the database and CREATE on the schema public from PUBLIC, so that a login can create no function
-- or type. Returns what the caller may not revoke. Each migrate calls it.
create function token_ledger.revoke_create_from_public()
returns setof text
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

-- Revokes CONNECT on the database from PUBLIC, and grants it to the logins that use the ledger. Returns what the caller
-- may not revoke. Each migrate calls it.
create function token_ledger.revoke_connect_from_public(is_in_use boolean)
returns setof text
language plpgsql
set search_path = pg_catalog, pg_temp
set client_min_messages = error
as $$
declare
  here constant oid := (select oid from pg_database where datname = current_database());
  login name;
begin
  if not has_database_privilege('public', current_database(), 'connect') then
    return;
  end if;
  for login in
    with used as (
      select distinct d.refobjid as role
      from pg_shdepend d
      where d.dbid = here and d.refclassid = 'pg_authid'::regclass and d.deptype in ('o', 'a')
    ),
    -- Of this ledger: its owner is not among them.
    ledger as (
      select a.grantee as role
      from pg_namespace n, aclexplode(n.nspacl) a
      where n.nspname = 'token_audit' and a.grantee <> n.nspowner
    ),
    elsewhere as (
      select distinct d.refobjid as role, o.datdba as owner
      from pg_shdepend d
      join pg_database o on o.oid = d.dbid
      where d.dbid <> here and d.refclassid = 'pg_authid'::regclass and d.deptype = 'a'
    ),
    opening as (
      select u.role
      from used u
      where is_in_use or u.role not in (select l.role from ledger l)
      union
      select oid from pg_roles where oid < 16384 and not rolsuper
    )
    select r.rolname
    from pg_roles r
    where r.rolcanlogin and not r.rolsuper
      and (
        r.rolreplication
        or r.oid in (select u.role from used u)
        or exists (
          select
          from opening o
          where pg_has_role(r.oid, o.role, 'member') and (o.role, r.oid) not in (select e.role, e.owner from elsewhere e)
        )
      )
  loop
    begin
      execute format('grant connect on database %I to %I', current_database(), login);
    -- Another session drops the login at this moment.
    exception when undefined_object then null;
    end;
  end loop;
  execute format('revoke connect on database %I from public', current_database());
  if has_database_privilege('public', current_database(), 'connect') then
    return next format('CONNECT on database %I', current_database());
  end if;
exception when insufficient_privilege then
  return next format('CONNECT on database %I', current_database());
end
$$;

-- Written by drizzle's migrator.
create table token_ledger_migrations.applied (
  id serial not null,
  hash text not null,
  created_at bigint,
  constraint applied_pkey primary key (id)
);

-- ----------------------------------------------------------------------------
-- 8. The log: one list of all hashes, which outsiders can check
-- ----------------------------------------------------------------------------

-- The hash of an admin action: version 1 is this list of fields.
create function token_ledger.admin_action_hash(a token_ledger.admin_action)
returns bytea
language sql stable parallel safe
return sha256(
  convert_to('token-ledger/admin-action/v1', 'UTF8')
  || int8send((a).action_id)
  || coalesce((a).prev_hash, decode(repeat('00', 32), 'hex'))
  || token_ledger.field(timestamptz_send((a).occurred_at))
  || token_ledger.field(uuid_send((a).actor_user_id))
  || token_ledger.field(convert_to((a).action, 'UTF8'))
  || token_ledger.field(uuid_send((a).target_user_id))
  || token_ledger.field(uuid_send((a).family_id))
  || token_ledger.field(convert_to((a).role, 'UTF8'))
  || token_ledger.field(convert_to((a).reason, 'UTF8'))
);

-- Sets prev_hash, hash and txid of a new admin action, one insertion at a time. Draws its number again where a later
-- one was inserted meanwhile.
create function token_ledger.chain_admin_action()
returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  last record;
begin
  perform token_ledger.take_turn('admin_actions');
  select a.action_id, a.hash, a.txid into last
  from token_ledger.admin_action a
  order by a.action_id desc
  limit 1;
  if new.action_id < last.action_id then
    new.action_id := nextval('token_ledger.admin_action_action_id_seq');
  end if;
  new.txid := greatest(pg_current_xact_id(), last.txid);
  new.prev_hash := last.hash;
  new.hash := token_ledger.admin_action_hash(new);
  return new;
end
$$;

create trigger chain_admin_action before insert on token_ledger.admin_action
for each row
when (not token_ledger.is_applying())
execute function token_ledger.chain_admin_action();
alter table token_ledger.admin_action enable always trigger chain_admin_action;

-- One row per event and per admin action, numbered from 0 without gaps; append-only. The rows stay when a month is
-- archived.
create table token_ledger.log_leaf (
  leaf_index bigint not null,
  family_id uuid,
  seq integer,
  action_id bigint,
  txid xid8 not null,
  hash bytea not null,
  constraint log_leaf_pkey primary key (leaf_index),
  constraint log_leaf_shape check (
    length(hash) = 32
    and num_nonnulls(family_id, seq) = case when action_id is null then 2 else 0 end
  )
);
create unique index log_leaf_of_action on token_ledger.log_leaf (action_id)
where action_id is not null;
create unique index log_leaf_of_event on token_ledger.log_leaf (family_id, seq)
where family_id is not null;

create trigger refuse_change before delete or update on token_ledger.log_leaf
for each row execute function token_ledger.refuse_change();
alter table token_ledger.log_leaf enable always trigger refuse_change;

create trigger refuse_truncate before truncate on token_ledger.log_leaf
for each statement execute function token_ledger.refuse_change();
alter table token_ledger.log_leaf enable always trigger refuse_truncate;

-- Hashes of the Merkle tree (RFC 6962): a node of level n is over 256^n leaves. Append-only.
create table token_ledger.log_node (
  level smallint not null,
  node_index bigint not null,
  hash bytea not null,
  constraint log_node_level_node_index_pk primary key (level, node_index)
);

create trigger refuse_change before delete or update on token_ledger.log_node
for each row execute function token_ledger.refuse_change();
alter table token_ledger.log_node enable always trigger refuse_change;

create trigger refuse_truncate before truncate on token_ledger.log_node
for each statement execute function token_ledger.refuse_change();
alter table token_ledger.log_node enable always trigger refuse_truncate;

-- Each checkpoint that was signed: size and root of the tree, and the signed note. Append-only.
create table token_ledger.log_checkpoint (
  checkpoint_id uuid not null default gen_random_uuid(),
  size bigint not null,
  root bytea not null,
  note text not null,
  signed_at timestamptz not null default token_ledger.clock(),
  constraint log_checkpoint_pkey primary key (checkpoint_id)
);
create index log_checkpoint_by_size on token_ledger.log_checkpoint (size, signed_at, checkpoint_id);

create trigger refuse_change before delete or update on token_ledger.log_checkpoint
for each row execute function token_ledger.refuse_change();
alter table token_ledger.log_checkpoint enable always trigger refuse_change;

create trigger refuse_truncate before truncate on token_ledger.log_checkpoint
for each statement execute function token_ledger.refuse_change();
alter table token_ledger.log_checkpoint enable always trigger refuse_truncate;

-- The Ed25519 key that signs checkpoints. The private half is sealed as those of signing_key.
create table token_ledger.log_key (
  kid text not null,
  sealed_private_key bytea not null,
  created_at timestamptz not null,
  constraint log_key_pkey primary key (kid)
);

create trigger refuse_delete before delete on token_ledger.log_key
for each row execute function token_ledger.refuse_change();
alter table token_ledger.log_key enable always trigger refuse_delete;

create trigger refuse_truncate before truncate on token_ledger.log_key
for each statement execute function token_ledger.refuse_change();
alter table token_ledger.log_key enable always trigger refuse_truncate;

-- Hashes 2^n nodes in pairs until one is left (RFC 6962).
create function token_ledger.fold_nodes(nodes bytea[])
returns bytea
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  while cardinality(nodes) > 1 loop
    nodes := array(
      select sha256('\x01'::bytea || nodes[2 * i - 1] || nodes[2 * i])
      from generate_series(1, cardinality(nodes) / 2) i
      order by i
    );
  end loop;
  return nodes[1];
end
$$;

-- Adds the nodes that are complete once the log has grown to a size.
create function token_ledger.append_nodes(size_before bigint, size_after bigint)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  at_level smallint := 1;
  width bigint := 256;
begin
  while size_after / width > size_before / width loop
    for i in size_before / width .. size_after / width - 1 loop
      insert into token_ledger.log_node (level, node_index, hash)
      values (at_level, i, token_ledger.fold_nodes(
        case at_level
          when 1 then array(
            select sha256('\x00'::bytea || l.hash)
            from token_ledger.log_leaf l
            where l.leaf_index between 256 * i::bigint and 256 * i::bigint + 255
            order by l.leaf_index
          )
          else array(
            select n.hash
            from token_ledger.log_node n
            where n.level = at_level - 1 and n.node_index between 256 * i::bigint and 256 * i::bigint + 255
            order by n.node_index
          )
        end
      ));
    end loop;
    at_level := at_level + 1;
    width := width * 256;
  end loop;
end
$$;

-- Appends the next 1,000 events and admin actions that are final, in the order (txid, family_id, seq). Returns how
-- many, or null while another transaction appends.
create function token_ledger.append_leaves()
returns integer
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_sort = off
as $$
declare
  no_family constant uuid := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
  last record;
  newest_txid xid8;
  -- The first txid that this cluster has not reached, where rows name such.
  unreached xid8;
  size bigint;
  appended integer;
begin
  perform from token_ledger.turn t where t.name = 'log' for update skip locked;
  if not found then
    return null;
  end if;

  select l.leaf_index, l.txid, coalesce(l.family_id, no_family) as family_id, coalesce(l.seq, l.action_id) as place
  into last
  from token_ledger.log_leaf l
  order by l.leaf_index desc
  limit 1;
  size := coalesce(last.leaf_index + 1, 0);

  select found.txid into newest_txid
  from (
    (select e.txid from token_ledger.token_event e order by e.txid desc, e.family_id desc, e.seq desc limit 1)
    union all
    (select a.txid from token_ledger.admin_action a order by a.txid desc, a.action_id desc limit 1)
    union all
    select last.txid
  ) found
  order by found.txid desc nulls last
  limit 1;
  if newest_txid >= pg_snapshot_xmax(pg_current_snapshot()) then
    unreached := pg_snapshot_xmax(pg_current_snapshot());
  end if;
  if last.txid is null or unreached is not null then
    select null::bigint as leaf_index, '0'::xid8 as txid, '00000000-0000-0000-0000-000000000000'::uuid as family_id,
      0::bigint as place
    into last;
  end if;

  with event as (
    select e.txid, e.family_id, e.seq, e.hash
    from token_ledger.token_event e
    left join lateral (
      select true as is_logged
      from token_ledger.log_leaf l
      where l.family_id = e.family_id and l.seq = e.seq
      offset 0
    ) logged on true
    where (e.txid, e.family_id, e.seq) > (last.txid, last.family_id, last.place)
      and (e.txid < pg_snapshot_xmin(pg_current_snapshot()) or e.txid >= unreached)
      and logged.is_logged is null
    order by e.txid, e.family_id, e.seq
    limit 1000
  ),
  action as (
    select a.txid, a.action_id, a.hash
    from token_ledger.admin_action a
    where a.txid >= last.txid
      and (a.txid, no_family, a.action_id) > (last.txid, last.family_id, last.place)
      and (a.txid < pg_snapshot_xmin(pg_current_snapshot()) or a.txid >= unreached)
      and not exists (select from token_ledger.log_leaf l where l.action_id = a.action_id)
    order by a.txid, a.action_id
    limit 1000
  )
  insert into token_ledger.log_leaf (leaf_index, family_id, seq, action_id, txid, hash)
  select
    size - 1 + row_number() over (order by n.txid, coalesce(n.family_id, no_family), n.seq, n.action_id),
    n.family_id, n.seq, n.action_id, n.txid, n.hash
  from (
    select event.txid, event.family_id, event.seq, null::bigint as action_id, event.hash from event
    union all
    select action.txid, null, null, action.action_id, action.hash from action
    order by 1, 2 nulls last, 3, 4
    limit 1000
  ) n;
  get diagnostics appended = row_count;
  perform token_ledger.append_nodes(size, size + appended);
  return appended;
end
$$;

-- ----------------------------------------------------------------------------
-- 9. Audit: views and functions
-- ----------------------------------------------------------------------------

-- How many events each hour had, without gaps from the first event on, up to counted_to in the newest one. Charts read
-- it; later events are counted when asked. The counts of archived months stay.
create table token_ledger.event_hour (
  hour_at timestamptz not null,
  issued integer not null,
  rotated integer not null,
  replayed integer not null,
  reuse_detected integer not null,
  revoked integer not null,
  counted_to timestamptz,
  constraint event_hour_pkey primary key (hour_at)
);

-- Counts the next part of an hour, no longer than asked. Returns 0 when less than a minute is left, or another
-- transaction counts, else 1. Each process calls it.
create function token_ledger.count_hours(longest interval default '01:00:00'::interval)
returns integer
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  hour constant interval := '1 hour';
  from_at timestamptz;
  to_at timestamptz;
  -- What happened before this is complete.
  final_at timestamptz;
begin
  perform from token_ledger.turn t where t.name = 'event_hours' for update skip locked;
  if not found then
    return 0;
  end if;

  select max(coalesce(h.counted_to, h.hour_at + hour)) into from_at from token_ledger.event_hour h;
  if from_at is null then
    select date_trunc('hour', f.created_at, 'UTC') into from_at
    from token_ledger.token_family f
    order by f.family_id
    limit 1;
  end if;

  -- A transaction reads the clock minutes before it gets its txid, at most.
  select least(e.occurred_at, token_ledger.clock()) - interval '5 minutes' into final_at
  from token_ledger.token_event e
  where e.txid < pg_snapshot_xmin(pg_current_snapshot())
  order by e.txid desc, e.family_id desc, e.seq desc
  limit 1;

  longest := greatest(longest, interval '1 second');
  to_at := least(from_at + longest, date_trunc('hour', from_at, 'UTC') + hour);
  -- Of what is not over yet, a minute or more.
  if least(to_at, from_at + interval '1 minute') <= final_at then
    to_at := least(to_at, final_at);
  else
    return 0;
  end if;

  insert into token_ledger.event_hour as h (hour_at, issued, rotated, replayed, reuse_detected, revoked, counted_to)
  select
    date_trunc('hour', from_at, 'UTC'),
    count(*) filter (where e.kind = 'issued'),
    count(*) filter (where e.kind in ('rotated', 'reauthenticated')),
    count(*) filter (where e.kind = 'replayed'),
    count(*) filter (where e.kind = 'reuse_detected'),
    count(*) filter (where e.kind = 'revoked'),
    to_at
  from token_ledger.token_event e
  where e.occurred_at >= from_at and e.occurred_at < to_at
  on conflict (hour_at) do update set
    issued = h.issued + excluded.issued,
    rotated = h.rotated + excluded.rotated,
    replayed = h.replayed + excluded.replayed,
    reuse_detected = h.reuse_detected + excluded.reuse_detected,
    revoked = h.revoked + excluded.revoked,
    counted_to = excluded.counted_to;
  return 1;
end
$$;

-- One row per event.
create view token_audit.events as
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
  e.authenticated_at,
  coalesce(s.subject, f.user_id::text) as subject,
  coalesce(actor.subject, e.actor_user_id::text) as actor_subject
from token_ledger.token_event e
join token_ledger.token_family f using (family_id)
left join token_ledger.user_account u on u.user_id = f.user_id
left join token_ledger.user_subject s on s.user_id = f.user_id
left join token_ledger.user_subject actor on actor.user_id = e.actor_user_id;

-- One row per session, as it is now. ip and user_agent are those of its last sign-in or rotation.
create view token_audit.sessions as
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
  made.authenticated_at,
  coalesce(s.subject, f.user_id::text) as subject
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
left join token_ledger.user_account u on u.user_id = f.user_id
left join token_ledger.user_subject s on s.user_id = f.user_id;

-- One row per reuse: how old the presented token was, and whether it came from where the current one had gone. The same
-- address and the same user agent suggest a bug in the client rather than a theft.
create view token_audit.reuse_incidents as
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
  newest.user_agent as rotation_user_agent,
  coalesce(s.subject, f.user_id::text) as subject
from token_ledger.token_event e
join token_ledger.token_family f using (family_id)
join token_ledger.token_event spent on spent.family_id = e.family_id
  and spent.kind in ('rotated', 'reauthenticated')
  and spent.generation = e.presented_generation + 1
join token_ledger.token_event newest on newest.family_id = e.family_id
  and newest.kind in ('rotated', 'reauthenticated')
  and newest.generation = e.generation
left join token_ledger.user_account u on u.user_id = f.user_id
left join token_ledger.user_subject s on s.user_id = f.user_id
where e.kind = 'reuse_detected';

-- One row per suspicion, with the columns of reuse_incidents. The session goes on.
create view token_audit.replay_suspicions as
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
  rotation.user_agent as rotation_user_agent,
  coalesce(named.subject, f.user_id::text) as subject
from token_ledger.replay_suspicion s
join token_ledger.token_event e on e.family_id = s.family_id and e.seq = s.seq
join token_ledger.token_family f on f.family_id = s.family_id
join token_ledger.token_event rotation on rotation.family_id = s.family_id
  and rotation.kind in ('rotated', 'reauthenticated')
  and rotation.generation = e.generation
left join token_ledger.user_account u on u.user_id = f.user_id
left join token_ledger.user_subject named on named.user_id = f.user_id;

-- One row per signed checkpoint of the log, with the note as it is published.
create view token_audit.checkpoints as
select
  signed_at,
  size,
  encode(root, 'base64') as root,
  note
from token_ledger.log_checkpoint c;

-- One row per action, with the e-mail addresses of today.
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
  a.reason,
  coalesce(actor_named.subject, a.actor_user_id::text) as actor_subject,
  coalesce(target_named.subject, a.target_user_id::text) as target_subject
from token_ledger.admin_action a
left join token_ledger.user_account actor on actor.user_id = a.actor_user_id
left join token_ledger.user_account target on target.user_id = a.target_user_id
left join token_ledger.user_subject actor_named on actor_named.user_id = a.actor_user_id
left join token_ledger.user_subject target_named on target_named.user_id = a.target_user_id;

-- What a session was at an instant, events of that very instant included. No row when it had not begun.
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

-- The sessions that were active at an instant. E-mail addresses and device names are those of today.
create function token_audit.sessions_at(at timestamptz)
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
    made.authenticated_at,
    coalesce(s.subject, f.user_id::text)
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
  left join token_ledger.user_subject s on s.user_id = f.user_id
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

-- Computes every hash again and checks every history; server/ledger/chain.ts does the same for an export. One row per
-- family, with its first problem or null.
create function token_ledger.check_families(first uuid, last uuid)
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

-- One row. An unknown family is not intact.
create function token_audit.verify_family(family_id uuid)
returns table(intact boolean, events integer, first_broken_seq integer, problem text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select
    c.family_id is not null and c.problem is null and o.problem is null,
    coalesce(c.events, 0),
    coalesce(c.first_broken_seq, o.first_broken_seq),
    case when c.family_id is null then 'there is no such family' else coalesce(c.problem, o.problem) end
  from (values (1)) one
  left join token_ledger.check_families(verify_family.family_id, verify_family.family_id) c on true
  left join token_ledger.check_open_families(verify_family.family_id, verify_family.family_id) o
    on c.family_id is not null
$$;

-- One row per broken family; none when the ledger is intact.
create function token_audit.verify_ledger()
returns table(family_id uuid, first_broken_seq integer, problem text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  with broken as (
    select c.family_id, c.first_broken_seq, c.problem
    from token_ledger.check_families(
      '00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff') c
    where c.problem is not null
  )
  select b.family_id, b.first_broken_seq, b.problem
  from broken b
  union all
  select o.family_id, o.first_broken_seq, o.problem
  from token_ledger.check_open_families(
    '00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff') o
  where o.family_id not in (select b.family_id from broken b)
$$;

-- ----------------------------------------------------------------------------
-- 10. Rights
-- ----------------------------------------------------------------------------

-- The login that migrates owns everything. Any role with USAGE on a schema may execute the functions in it that are not
-- revoked from PUBLIC here. Each migrate also revokes CONNECT and TEMPORARY on the database and CREATE on the schema
-- public from PUBLIC.

revoke all on function
  token_audit.session_state_at,
  token_audit.sessions_at,
  token_audit.user_id,
  token_audit.verify_family,
  token_audit.verify_ledger,
  token_ledger.append_ends,
  token_ledger.append_leaves,
  token_ledger.append_nodes,
  token_ledger.append_unless_changed,
  token_ledger.begin_family,
  token_ledger.chain_admin_action,
  token_ledger.chain_event,
  token_ledger.check_chained,
  token_ledger.check_families,
  token_ledger.check_open_families,
  token_ledger.check_table,
  token_ledger.closed_months,
  token_ledger.compare_event,
  token_ledger.continue_numbering,
  token_ledger.copy_unattached,
  token_ledger.count_hours,
  token_ledger.end_sessions_of_deleted_user,
  token_ledger.ensure_partitions,
  token_ledger.erase_traces,
  token_ledger.expect_first_event,
  token_ledger.expect_long_families,
  token_ledger.finish_partition,
  token_ledger.guard_partition,
  token_ledger.is_derived,
  token_ledger.keep_an_admin,
  token_ledger.keep_open_families,
  token_ledger.keep_subject,
  token_ledger.make_closed_months,
  token_ledger.make_month,
  token_ledger.network_of,
  token_ledger.rebuild_open_families,
  token_ledger.refuse_change,
  token_ledger.refuse_event_change,
  token_ledger.refuse_family_change,
  token_ledger.remember_removed_key,
  token_ledger.revoke_connect_from_public,
  token_ledger.revoke_create_from_public,
  token_ledger.skip_known_turn,
  token_ledger.suspect_replay,
  token_ledger.sweep_open_families,
  token_ledger.take_turn
from public;

grant usage on schema token_audit, token_ledger, token_ledger_migrations to token_ledger_app;
grant select on
  token_audit.admin_actions,
  token_audit.checkpoints,
  token_audit.events,
  token_audit.replay_suspicions,
  token_audit.reuse_incidents,
  token_audit.sessions,
  token_ledger.event_hour,
  token_ledger.log_leaf,
  token_ledger.log_node,
  token_ledger.open_family,
  token_ledger.replay_suspicion,
  token_ledger.signing_key_removal,
  token_ledger_migrations.applied
to token_ledger_app;
grant select,
  insert (actor_user_id, action, target_user_id, family_id, role, reason)
on token_ledger.admin_action to token_ledger_app;
grant select,
  insert (copy_of),
  update (noticed_copy_of)
on token_ledger.incarnation to token_ledger_app;
grant select, insert (size, root, note) on token_ledger.log_checkpoint to token_ledger_app;
grant select, insert, update (sealed_private_key) on token_ledger.log_key to token_ledger_app;
grant select, insert, update, delete on
  token_ledger.process_mark,
  token_ledger.rate_limit
to token_ledger_app;
grant select,
  insert,
  update (sealed_private_key),
  delete
on token_ledger.signing_key to token_ledger_app;
grant select,
  insert (
    family_id, seq, kind, generation, occurred_at, expires_at, absolute_expires_at, user_id,
    transport, token_hash, salt, attempt_hash, presented_generation, reason, actor_user_id, ip,
    user_agent, origin_salt, methods, authenticated_at
  )
on token_ledger.token_event to token_ledger_app;
grant select,
  insert (family_id, user_id, transport, device_name, created_at, absolute_expires_at),
  update (lock_mark)
on token_ledger.token_family to token_ledger_app;
grant select, insert, update on
  token_ledger.user_account,
  token_ledger.user_epoch
to token_ledger_app;
grant select, insert on token_ledger.user_subject to token_ledger_app;
grant execute on function
  token_audit.session_state_at,
  token_audit.sessions_at,
  token_audit.user_id,
  token_audit.verify_family,
  token_audit.verify_ledger,
  token_ledger.append_ends,
  token_ledger.append_leaves,
  token_ledger.append_unless_changed,
  token_ledger.begin_family,
  token_ledger.check_families,
  token_ledger.check_open_families,
  token_ledger.count_hours,
  token_ledger.ensure_partitions,
  token_ledger.is_derived,
  token_ledger.keep_subject,
  token_ledger.sweep_open_families,
  token_ledger.take_turn
to token_ledger_app;

grant usage on schema token_audit to token_ledger_auditor;
grant select on
  token_audit.admin_actions,
  token_audit.checkpoints,
  token_audit.events,
  token_audit.replay_suspicions,
  token_audit.reuse_incidents,
  token_audit.sessions
to token_ledger_auditor;
grant execute on function
  token_audit.session_state_at,
  token_audit.sessions_at,
  token_audit.user_id,
  token_audit.verify_family,
  token_audit.verify_ledger
to token_ledger_auditor;
