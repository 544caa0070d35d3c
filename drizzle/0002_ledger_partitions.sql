-- One partition a month of family_id, a UUIDv7: a closed month can be taken out whole (ledger archive).

-- The lowest family_id of an instant: its milliseconds, then zeros (RFC 9562 §5.7).
create function token_ledger.first_family_id(at timestamptz) returns uuid
language sql immutable parallel safe
return rpad(lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0'), 32, '0')::uuid;
--> statement-breakpoint
-- Makes the partitions from this month to `months_ahead` months from now; those there are stay as they are.
-- A default partition takes what no month takes, so that a sign-in never fails for want of one.
create function token_ledger.ensure_partitions(months_ahead integer default 3) returns integer
language plpgsql security definer
set search_path = pg_catalog, token_ledger
set timezone = 'UTC'
as $$
declare
  parent text;
  part text;
  month timestamptz;
  made integer := 0;
begin
  -- Several processes start at once: one makes them, the others find them.
  perform pg_advisory_xact_lock(hashtextextended('token_ledger.ensure_partitions', 0));
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
--> statement-breakpoint
-- Row triggers come with a partition, a truncate trigger does not.
create function token_ledger.guard_partition(part text) returns void
language plpgsql security definer
set search_path = pg_catalog, token_ledger
as $$
begin
  execute format(
    'create trigger refuse_truncate before truncate on token_ledger.%I for each statement execute function token_ledger.refuse_change()',
    part);
  execute format('alter table token_ledger.%I enable always trigger refuse_truncate', part);
end
$$;
--> statement-breakpoint
revoke all on function token_ledger.guard_partition(text) from public;
--> statement-breakpoint
-- Where most families are young, the planner believes that a family is one event, reads all of it and sorts, and
-- keeps to that as families grow. Told that there are fifty to each, it looks at the newest and stops.
create function token_ledger.expect_long_families(part text) returns void
language plpgsql security definer
set search_path = pg_catalog, token_ledger
as $$
begin
  execute format('alter table token_ledger.%I alter column family_id set (n_distinct = -0.02)', part);
end
$$;
--> statement-breakpoint
revoke all on function token_ledger.expect_long_families(text) from public;
--> statement-breakpoint
alter table token_ledger.token_event alter column family_id set (n_distinct_inherited = -0.02);
--> statement-breakpoint
create table token_ledger.token_family_default partition of token_ledger.token_family default;
--> statement-breakpoint
create table token_ledger.token_event_default partition of token_ledger.token_event default;
--> statement-breakpoint
select token_ledger.guard_partition('token_family_default'), token_ledger.guard_partition('token_event_default'),
  token_ledger.expect_long_families('token_event_default');
--> statement-breakpoint
select token_ledger.ensure_partitions();
