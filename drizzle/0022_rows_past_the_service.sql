-- Rows that come past the service, by SQL, by replication or from a dump. Older processes may run beside this: yes, because they write canonical addresses, delete no user and give no hash.

-- An address in another spelling belongs to an account that cannot sign in. Where its canonical spelling is free, it
-- gets that one. lower() of the collation "C" changes ASCII letters alone.
update token_ledger.user_account u
set email = lower(u.email collate "C")
where u.email <> lower(u.email collate "C")
  and not exists (
    select
    from token_ledger.user_account other
    where other.user_id <> u.user_id and lower(other.email collate "C") = lower(u.email collate "C")
  );
--> statement-breakpoint
-- As server/users/email.ts. Not valid at first: a row that stays as it is does not stop the migration, and Postgres checks
-- it when it is next written.
alter table token_ledger.user_account add constraint user_account_email_canonical check (
  email collate "C" ~ '^[a-z0-9!#$%&''*+/=?^_`{|}~-]+([.][a-z0-9!#$%&''*+/=?^_`{|}~-]+)*@([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?[.])*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'
  and email collate "C" !~ '[.@][0-9]+$'
  and strpos(email, '@') <= 65
) not valid;
--> statement-breakpoint
do $$
begin
  alter table token_ledger.user_account validate constraint user_account_email_canonical;
exception when check_violation then null;
end
$$;
--> statement-breakpoint
-- Whether this session applies rows that another database decided: the worker of a logical replica, or a restore. Such a
-- session has the role "replica", which only a superuser or its grantee can set, and may write a hash. The service may
-- not, so nothing changes for it under that setting.
--
-- In PL/pgSQL: Postgres would inline an SQL function into the conditions of triggers, anew for each statement.
create function token_ledger.is_applying() returns boolean
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return current_setting('session_replication_role') = 'replica'
    and has_column_privilege('token_ledger.token_event'::regclass, 'hash', 'insert');
end
$$;
--> statement-breakpoint
-- Ends the sessions of a user whose row was deleted, as "end all sessions" does: sign-ins in progress fail, and each
-- family that is active gets its end. The service deletes no user; an erasure keeps the row.
create function token_ledger.end_sessions_of_deleted_user() returns trigger
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
      where e.family_id = open_id and e.kind in ('issued', 'rotated')
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
--> statement-breakpoint
revoke all on function token_ledger.end_sessions_of_deleted_user() from public;
--> statement-breakpoint
create trigger end_sessions_of_deleted_user after delete on token_ledger.user_account
for each row when (not token_ledger.is_applying())
execute function token_ledger.end_sessions_of_deleted_user();
--> statement-breakpoint
alter table token_ledger.user_account enable always trigger end_sessions_of_deleted_user;
--> statement-breakpoint
-- Rows that come with their hash come in any order: the first copy of a replica and a dump have that of the disk. So the
-- hash is compared with the content and with those events before and after it that are there. Whether the history is
-- legal is left to verification.
create function token_ledger.compare_event() returns trigger
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
      new.presented_generation, new.reason, new.actor_user_id, new.origin_hash)
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
revoke all on function token_ledger.compare_event() from public;
--> statement-breakpoint
create trigger compare_event before insert on token_ledger.token_event
for each row when (new.hash is not null and token_ledger.is_applying())
execute function token_ledger.compare_event();
--> statement-breakpoint
alter table token_ledger.token_event enable always trigger compare_event;
--> statement-breakpoint
drop trigger chain_event on token_ledger.token_event;
--> statement-breakpoint
create trigger chain_event before insert on token_ledger.token_event
for each row when (new.hash is null or not token_ledger.is_applying())
execute function token_ledger.chain_event();
--> statement-breakpoint
alter table token_ledger.token_event enable always trigger chain_event;
--> statement-breakpoint
-- A replica copies one table after the other.
drop trigger expect_first_event on token_ledger.token_family;
--> statement-breakpoint
create constraint trigger expect_first_event after insert on token_ledger.token_family deferrable initially deferred
for each row when (not token_ledger.is_applying())
execute function token_ledger.expect_first_event();
--> statement-breakpoint
alter table token_ledger.token_family enable always trigger expect_first_event;
--> statement-breakpoint
-- What these triggers write comes by itself, as rows of the tables that they write to.
drop trigger keep_open_families on token_ledger.token_event;
--> statement-breakpoint
create trigger keep_open_families after insert on token_ledger.token_event
for each row when (new.kind in ('issued', 'revoked', 'reuse_detected') and not token_ledger.is_applying())
execute function token_ledger.keep_open_families();
--> statement-breakpoint
alter table token_ledger.token_event enable always trigger keep_open_families;
--> statement-breakpoint
drop trigger suspect_replay on token_ledger.token_event;
--> statement-breakpoint
create trigger suspect_replay after insert on token_ledger.token_event
for each row when (new.kind = 'replayed' and not token_ledger.is_applying())
execute function token_ledger.suspect_replay();
--> statement-breakpoint
alter table token_ledger.token_event enable always trigger suspect_replay;
--> statement-breakpoint
drop trigger remember_removed_key on token_ledger.signing_key;
--> statement-breakpoint
create trigger remember_removed_key after delete on token_ledger.signing_key
for each row when (not token_ledger.is_applying())
execute function token_ledger.remember_removed_key();
--> statement-breakpoint
alter table token_ledger.signing_key enable always trigger remember_removed_key;
--> statement-breakpoint
-- The migrations have made the turns already.
create function token_ledger.skip_known_turn() returns trigger
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
--> statement-breakpoint
revoke all on function token_ledger.skip_known_turn() from public;
--> statement-breakpoint
create trigger skip_known_turn before insert on token_ledger.turn
for each row when (token_ledger.is_applying())
execute function token_ledger.skip_known_turn();
--> statement-breakpoint
alter table token_ledger.turn enable always trigger skip_known_turn;
--> statement-breakpoint
-- Sequences are not replicated: after a promotion the next action would get a number that is taken.
create function token_ledger.continue_numbering() returns trigger
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
--> statement-breakpoint
revoke all on function token_ledger.continue_numbering() from public;
--> statement-breakpoint
create trigger continue_numbering after insert on token_ledger.admin_action
for each row when (token_ledger.is_applying())
execute function token_ledger.continue_numbering();
--> statement-breakpoint
alter table token_ledger.admin_action enable always trigger continue_numbering;
