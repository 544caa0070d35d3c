-- Turns are rows that no reader can lock. Older processes may run beside this: yes, because two of them add one signing key more than needed at worst.

-- They were advisory locks, which any login of the database can hold for as long as it likes.
CREATE TABLE "token_ledger"."turn" (
	"name" text PRIMARY KEY NOT NULL
);
--> statement-breakpoint
insert into token_ledger.turn (name) values ('keep_an_admin'), ('partitions'), ('signing_keys');
--> statement-breakpoint
-- Locks the turn until the transaction ends. Tries for five seconds, then names who holds it. It does not wait for the
-- lock, because who holds a row can only be read by one that does not wait, and an exception block would hide it: the
-- row then names a subtransaction.
create function token_ledger.take_turn(turn_name text) returns void
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
--> statement-breakpoint
revoke all on function token_ledger.take_turn(text) from public;
--> statement-breakpoint
grant execute on function token_ledger.take_turn(text) to token_ledger_app;
--> statement-breakpoint
-- As in 0005, but for the turn.
create or replace function token_ledger.keep_an_admin() returns trigger
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
--> statement-breakpoint
-- As in 0002, but for the turn, and for a bound: each month is two tables with four indexes or more.
create or replace function token_ledger.ensure_partitions(months_ahead integer default 3) returns integer
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
declare
  parent text;
  part text;
  month timestamptz;
  made integer := 0;
begin
  if months_ahead is null or months_ahead not between 0 and 24 then
    raise exception 'months_ahead must be from 0 to 24' using errcode = 'invalid_parameter_value';
  end if;
  -- Several processes start at once: one makes them, the others find them.
  perform token_ledger.take_turn('partitions');
  foreach parent in array array['token_family', 'token_event'] loop
    for month in
      select generate_series(date_trunc('month', now()), date_trunc('month', now()) + months_ahead * interval '1 month', '1 month')
    loop
      part := parent || to_char(month, '_YYYYMM');
      continue when to_regclass(format('token_ledger.%I', part)) is not null;
      execute format(
        'create table token_ledger.%I partition of token_ledger.%I for values from (%L) to (%L)',
        part, parent, token_ledger.first_family_id(month), token_ledger.first_family_id(month + interval '1 month'));
      perform token_ledger.guard_partition(part);
      if parent = 'token_event' then
        perform token_ledger.expect_long_families(part);
      end if;
      made := made + 1;
    end loop;
  end loop;
  return made;
end
$$;
