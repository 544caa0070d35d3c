-- Hours of events are counted in parts, the running one as well. Older processes may run beside this: yes, because they call the same function; their charts lack the newest minutes.

-- A part that takes too long is counted in shorter ones, so that no hour stops the hours after it. Null is the end of the
-- hour: in rows that an older version counted, also in those that come later from its dump or its primary.
alter table token_ledger.event_hour add column counted_to timestamptz;
--> statement-breakpoint
drop function token_ledger.count_hours();
--> statement-breakpoint
-- No counter is kept where events are written: a refresh would pay for it, and refreshes of one hour would wait for
-- each other at its row. A part is counted by the index of time, when all its transactions are over.
create function token_ledger.count_hours(longest interval default '1 hour') returns integer
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
--> statement-breakpoint
revoke all on function token_ledger.count_hours(interval) from public;
--> statement-breakpoint
grant execute on function token_ledger.count_hours(interval) to token_ledger_app;
