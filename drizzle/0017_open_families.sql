-- An index of the families that are open, kept by a trigger. Older processes may run beside this: yes, because the trigger writes it for them too, and they never read it.

-- A user's ended sessions outnumber the open ones, and nothing but their events says which is which: a list, a sign-in
-- and "end all sessions" read every one. Whether a session is valid still follows from its events alone.
CREATE TABLE "token_ledger"."open_family" (
	"family_id" uuid PRIMARY KEY NOT NULL,
	"user_id" uuid NOT NULL,
	"absolute_expires_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE INDEX "open_family_by_user" ON "token_ledger"."open_family" USING btree ("user_id","family_id");
--> statement-breakpoint
-- Fires for the first event and for the end of a family, so a rotation writes nothing here. A sign-in also removes its
-- user's families that expired, which have no end event. An hour later, in case the clock of a new primary is behind: a
-- family that is active again has to be in the table. Of the oldest 200, so that a sign-in has a bound; by default 100
-- are active at most.
create function token_ledger.keep_open_families() returns trigger
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
        where made.family_id = o.family_id and made.kind in ('issued', 'rotated')
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
revoke all on function token_ledger.keep_open_families() from public;
--> statement-breakpoint
create trigger keep_open_families after insert on token_ledger.token_event
for each row when (new.kind in ('issued', 'revoked', 'reuse_detected'))
execute function token_ledger.keep_open_families();
--> statement-breakpoint
alter table token_ledger.token_event enable always trigger keep_open_families;
--> statement-breakpoint
-- Removes the expired families of users who do not sign in any more. Returns how many.
create function token_ledger.sweep_open_families() returns integer
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
--> statement-breakpoint
revoke all on function token_ledger.sweep_open_families() from public;
--> statement-breakpoint
grant execute on function token_ledger.sweep_open_families() to token_ledger_app;
--> statement-breakpoint
-- Makes the table anew from the events, for the owner. Sign-ins and ends wait meanwhile; rotations do not. Returns how
-- many rows are in it.
create function token_ledger.rebuild_open_families() returns integer
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
--> statement-breakpoint
revoke all on function token_ledger.rebuild_open_families() from public;
--> statement-breakpoint
select token_ledger.rebuild_open_families();
--> statement-breakpoint
-- A row for each of the families `first` to `last` where open_family contradicts the events, with the event that
-- should have written it.
create function token_ledger.check_open_families(first uuid, last uuid)
returns table (family_id uuid, first_broken_seq integer, problem text)
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
      where e.family_id = f.family_id and e.kind in ('issued', 'rotated')
      order by e.seq desc
      limit 1
    ) made on true
    where o.family_id is not null or f.absolute_expires_at > token_ledger.clock()
  ) judged
  where judged.problem is not null
$$;
--> statement-breakpoint
revoke all on function token_ledger.check_open_families(uuid, uuid) from public;
--> statement-breakpoint
grant execute on function token_ledger.check_open_families(uuid, uuid) to token_ledger_app;
--> statement-breakpoint
-- As in 0007, and whether open_family agrees where the events are intact.
create or replace function token_audit.verify_family(family_id uuid)
returns table (intact boolean, events integer, first_broken_seq integer, problem text)
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
--> statement-breakpoint
create or replace function token_audit.verify_ledger()
returns table (family_id uuid, first_broken_seq integer, problem text)
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
--> statement-breakpoint
grant select on token_ledger.open_family to token_ledger_app;
