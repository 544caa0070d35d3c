-- A family in the default partition moves to its month when that is made. Older processes may run beside this: yes, because they call the same function.

-- Makes the two partitions of a month where they are missing, and moves the rows there that the default partition has of
-- it. Returns how many it made. Sign-ins and refreshes wait meanwhile: with more rows than max_rows it raises 54000.
--
-- Rows are copied to tables that are not attached yet, so no trigger fires and they stay as they are. Neither copy shows
-- in logical replication: rows of an unlogged table do not, nor does its change to a logged one. A replica moves its own
-- rows when it makes the month.
create function token_ledger.make_month(month timestamptz, max_rows bigint default null) returns integer
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
--> statement-breakpoint
revoke all on function token_ledger.make_month(timestamptz, bigint) from public;
--> statement-breakpoint
-- Copies rows of the default partition to a new table that can become a partition.
create function token_ledger.copy_unattached(parent text, part text, condition text) returns void
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
--> statement-breakpoint
revoke all on function token_ledger.copy_unattached(text, text, text) from public;
--> statement-breakpoint
-- What a new partition needs that it does not get from its table.
create function token_ledger.finish_partition(parent text, part text) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform token_ledger.guard_partition(part);
  if parent = 'token_event' then
    perform token_ledger.expect_long_families(part);
  end if;
end
$$;
--> statement-breakpoint
revoke all on function token_ledger.finish_partition(text, text) from public;
--> statement-breakpoint
-- As in 0014, but a month that cannot be made does not keep the others from being made. Its problem is raised when there
-- is nothing else to make, so a caller repeats the call until it returns 0.
create or replace function token_ledger.ensure_partitions(months_ahead integer default 3) returns integer
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
--> statement-breakpoint
-- Makes the months that ended before an instant and have families in the default partition, so that they can be
-- archived. Returns how many partitions it made.
create function token_ledger.make_closed_months(before timestamptz) returns integer
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
--> statement-breakpoint
revoke all on function token_ledger.make_closed_months(timestamptz) from public;
