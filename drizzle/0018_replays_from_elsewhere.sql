-- Replays from another network, three generations in a row, become a suspicion that admins see. Older processes may run beside this: yes, because the database itself notes the suspicions.

-- The /24 of an IPv4 address or the /64 of an IPv6 address, as in server/ledger/caller.ts.
create function token_ledger.network_of(ip inet) returns cidr
language sql immutable strict parallel safe
return network(set_masklen(ip, case family(ip) when 4 then 24 else 64 end));
--> statement-breakpoint
revoke all on function token_ledger.network_of(inet) from public;
--> statement-breakpoint
create table token_ledger.replay_suspicion (
  family_id uuid not null,
  seq integer not null,
  occurred_at timestamptz not null,
  constraint replay_suspicion_family_id_seq_pk primary key (family_id, seq)
);
--> statement-breakpoint
create index replay_suspicion_by_time on token_ledger.replay_suspicion (occurred_at, family_id);
--> statement-breakpoint
-- Notes the replay that makes three generations in a row replayed from elsewhere, once for each such row. The rule is
-- that of `sightReplay` in server/ledger/sighting.ts. Only a replay calls it; a rotation does not.
create function token_ledger.suspect_replay() returns trigger
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
    where e.family_id = new.family_id and e.kind in ('issued', 'rotated')
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
--> statement-breakpoint
revoke all on function token_ledger.suspect_replay() from public;
--> statement-breakpoint
create trigger suspect_replay after insert on token_ledger.token_event
for each row when (new.kind = 'replayed') execute function token_ledger.suspect_replay();
--> statement-breakpoint
alter table token_ledger.token_event enable always trigger suspect_replay;
--> statement-breakpoint
-- As in 0004, and where the newest rotation came from.
create or replace view token_audit.reuse_incidents as
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
  newest.user_agent as rotation_user_agent
from token_ledger.token_event e
join token_ledger.token_family f using (family_id)
-- The rotation that spent the presented token.
join token_ledger.token_event spent
  on spent.family_id = e.family_id and spent.kind = 'rotated' and spent.generation = e.presented_generation + 1
join token_ledger.token_event newest
  on newest.family_id = e.family_id and newest.kind = 'rotated' and newest.generation = e.generation
left join token_ledger.user_account u on u.user_id = f.user_id
where e.kind = 'reuse_detected';
--> statement-breakpoint
-- The same columns. The session was not ended by it.
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
  rotation.user_agent as rotation_user_agent
from token_ledger.replay_suspicion s
join token_ledger.token_event e on e.family_id = s.family_id and e.seq = s.seq
join token_ledger.token_family f on f.family_id = s.family_id
join token_ledger.token_event rotation
  on rotation.family_id = s.family_id and rotation.kind = 'rotated' and rotation.generation = e.generation
left join token_ledger.user_account u on u.user_id = f.user_id;
--> statement-breakpoint
grant select on token_audit.replay_suspicions to token_ledger_auditor, token_ledger_app;
