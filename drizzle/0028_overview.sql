-- What screens for admins read: the events of each hour, the state of each process, and indexes for prefixes and checkpoints. Older processes may run beside this: yes, because they never name it.

CREATE TABLE "token_ledger"."event_hour" (
	"hour_at" timestamp with time zone PRIMARY KEY NOT NULL,
	"issued" integer NOT NULL,
	"rotated" integer NOT NULL,
	"replayed" integer NOT NULL,
	"reuse_detected" integer NOT NULL,
	"revoked" integer NOT NULL
);
--> statement-breakpoint
ALTER TABLE "token_ledger"."process_mark" ADD COLUMN "started_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "token_ledger"."process_mark" ADD COLUMN "version" text;--> statement-breakpoint
ALTER TABLE "token_ledger"."process_mark" ADD COLUMN "lag_ms" integer;--> statement-breakpoint
CREATE INDEX "log_checkpoint_by_size" ON "token_ledger"."log_checkpoint" USING btree ("size","signed_at","checkpoint_id");--> statement-breakpoint
CREATE INDEX "user_account_by_prefix" ON "token_ledger"."user_account" USING btree ("email" collate "C");
--> statement-breakpoint
insert into token_ledger.turn (name) values ('event_hours');
--> statement-breakpoint
-- No counter is kept where events are written: a refresh would pay for it, and refreshes of one hour would wait for
-- each other at its row. An hour is counted by its index of time, when all its transactions are over.
create function token_ledger.count_hours() returns integer
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  hour constant interval := '1 hour';
  next_at timestamptz;
  -- Hours that end by then have all their events.
  final_at timestamptz;
  counted integer := 0;
begin
  perform from token_ledger.turn t where t.name = 'event_hours' for update skip locked;
  if not found then
    return 0;
  end if;

  select max(h.hour_at) + hour into next_at from token_ledger.event_hour h;
  if next_at is null then
    select date_trunc('hour', f.created_at, 'UTC') into next_at
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

  while next_at + hour <= final_at and clock_timestamp() < statement_timestamp() + interval '1 second' loop
    insert into token_ledger.event_hour (hour_at, issued, rotated, replayed, reuse_detected, revoked)
    select
      next_at,
      count(*) filter (where e.kind = 'issued'),
      count(*) filter (where e.kind in ('rotated', 'reauthenticated')),
      count(*) filter (where e.kind = 'replayed'),
      count(*) filter (where e.kind = 'reuse_detected'),
      count(*) filter (where e.kind = 'revoked')
    from token_ledger.token_event e
    where e.occurred_at >= next_at and e.occurred_at < next_at + hour;
    counted := counted + 1;
    next_at := next_at + hour;
  end loop;
  return counted;
end
$$;
--> statement-breakpoint
revoke all on function token_ledger.count_hours() from public;
--> statement-breakpoint
grant execute on function token_ledger.count_hours() to token_ledger_app;
--> statement-breakpoint
grant select on token_ledger.event_hour to token_ledger_app;
--> statement-breakpoint
grant select on token_ledger.replay_suspicion to token_ledger_app;
