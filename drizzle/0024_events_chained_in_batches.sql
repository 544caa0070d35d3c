-- Refreshes are chained by the batch, and partitions of closed months cost them nothing. Older processes may run beside this: yes, because they call the same function.

-- The problem of an event after those before it, or null: the rules of a legal history. `last_` is the newest event,
-- `token_` the newest event that made a token, and family_ends_at its absolute_expires_at. has_same_family is for a first
-- event: whether its family row agrees, null without one.
--
-- One expression, which Postgres writes into the queries that call it.
create function token_ledger.history_problem(
  seq integer, kind text, generation integer, occurred_at timestamptz, expires_at timestamptz,
  absolute_expires_at timestamptz, ip inet, user_agent text, origin_salt bytea,
  last_seq integer, last_kind text, last_generation integer, last_occurred_at timestamptz,
  token_seq integer, token_expires_at timestamptz, family_ends_at timestamptz, has_same_family boolean)
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
  when kind = 'rotated' and generation <> last_generation + 1
    then format('generation %s does not follow %s', generation, last_generation)
  when kind = 'rotated' and absolute_expires_at <> family_ends_at
    then 'a rotation does not move the end of the family'
  when kind <> 'rotated' and generation <> last_generation
    then format('%s may not change the generation %s to %s', kind, last_generation, generation)
  when occurred_at < last_occurred_at then 'an event may not come before the last one'
  when occurred_at >= token_expires_at then format('%s after the token had expired', kind)
  when kind = 'replayed' and seq - token_seq > 20 then 'replayed more than 20 times'
end;
--> statement-breakpoint
-- As in 0015, but for the rules, which are in a function of their own, and for a row that comes with another hash than it
-- gets.
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
    where family_id = new.family_id and kind in ('issued', 'rotated')
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
    new.presented_generation, new.reason, new.actor_user_id, new.origin_hash);
  if given_hash <> new.hash then
    raise exception 'illegal history of family %: the hash does not match the content', new.family_id
      using errcode = 'TL002';
  end if;
  return new;
end
$$;
--> statement-breakpoint
-- A row that comes with the hash and the transaction that it should have is left to check_chained. One of another
-- transaction, as in a dump, gets its own.
drop trigger chain_event on token_ledger.token_event;
--> statement-breakpoint
create trigger chain_event before insert on token_ledger.token_event
for each row when (new.hash is null or new.txid <> pg_current_xact_id() and not token_ledger.is_applying())
execute function token_ledger.chain_event();
--> statement-breakpoint
alter table token_ledger.token_event enable always trigger chain_event;
--> statement-breakpoint
-- As in 0022, but not for append_unless_changed, which runs as the owner and sets token_ledger.appends: what it writes for
-- the service is checked under that role too. A session that sets it itself is only checked more.
create or replace function token_ledger.is_applying() returns boolean
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return current_setting('session_replication_role') = 'replica'
    and has_column_privilege('token_ledger.token_event'::regclass, 'hash', 'insert')
    and current_setting('token_ledger.appends', true) is distinct from 'yes';
end
$$;
--> statement-breakpoint
-- Checks the events that a statement inserted, whichever role ran it: each has to continue its family, with the hash that
-- chain_event would have given it. It asks no role and no setting whether to check, because a statement can change both
-- before it ends. The first query is what every batch of refreshes pays for. It passes events that follow one that made a
-- token, and looks only into the partitions from the lowest of these families on, because a family is in the month of its
-- id. The second query handles every other event, and finds the problem if there is one.
create function token_ledger.check_chained() returns trigger
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
      last.kind in ('issued', 'rotated')
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
        a.presented_generation, a.reason, a.actor_user_id, a.origin_hash)
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
      where t.family_id = a.family_id and t.seq < a.seq and t.kind in ('issued', 'rotated') and t.family_id >= lowest
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
revoke all on function token_ledger.check_chained() from public;
--> statement-breakpoint
-- Adds that check to the table or to one of its partitions, because a statement trigger does not come with a partition.
create function token_ledger.check_table(name text) returns void
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
--> statement-breakpoint
revoke all on function token_ledger.check_table(text) from public;
--> statement-breakpoint
select token_ledger.check_table(c.relname)
from pg_class c
left join pg_inherits i on i.inhrelid = c.oid
where 'token_ledger.token_event'::regclass in (c.oid, i.inhparent) and c.relkind in ('r', 'p');
--> statement-breakpoint
-- As in 0021, and the check of a statement that inserts straight into the partition.
create or replace function token_ledger.finish_partition(parent text, part text) returns void
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
--> statement-breakpoint
-- As in 0011, but it chains the events in the statement that inserts them, and looks only into the partitions from the
-- lowest of these families on. check_chained then checks them, as it checks what any other statement inserts with a hash.
create or replace function token_ledger.append_unless_changed(family_ids uuid[], events json) returns setof uuid
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
      e.token_hash, e.salt, e.attempt_hash, e.presented_generation, e.reason, null, o.origin_hash),
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
