-- Ids of users that are no UUIDs: the ledger has a UUID that is derived from the text, and this keeps the text once. Older processes may run beside this: yes, because they never name it; they refuse the refreshes of users with such an id, so let these sign in when all processes are of this version.

-- The id that the ledger has for a user of a team's own, as ledgerIdOf in db/subjects.ts. A UUID in lower case stands for
-- itself, unless its version is 8 (RFC 9562): those are the ids that are derived from a text.
create function token_audit.user_id(subject text) returns uuid
language sql immutable strict parallel safe
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
--> statement-breakpoint
-- UUIDs of version 8.
create function token_ledger.is_derived(user_id uuid) returns boolean
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
  select user_id::text ~ '^.{14}8.{4}[89ab]'
$$;
--> statement-breakpoint
do $$
begin
  if exists (select from token_ledger.open_family o where token_ledger.is_derived(o.user_id)) then
    raise exception 'sessions of users whose ids are UUIDs of version 8 are open'
      using hint = 'Such ids are derived from a text now. End these sessions, so that their users sign in again.';
  end if;
end
$$;
--> statement-breakpoint
CREATE TABLE "token_ledger"."user_subject" (
	"user_id" uuid PRIMARY KEY NOT NULL,
	"subject" text NOT NULL,
	CONSTRAINT "user_subject_shape" CHECK (char_length("token_ledger"."user_subject"."subject") between 1 and 255 and "token_ledger"."user_subject"."subject" collate "C" !~ '[\u0001-\u001f\u007f-\u009f]'),
	CONSTRAINT "user_subject_derived" CHECK ("token_ledger"."user_subject"."user_id" = token_audit.user_id("token_ledger"."user_subject"."subject") and "token_ledger"."user_subject"."user_id"::text <> "token_ledger"."user_subject"."subject")
);
--> statement-breakpoint
ALTER TABLE "token_ledger"."user_account" ADD CONSTRAINT "user_account_not_derived" CHECK ("token_ledger"."user_account"."user_id"::text !~ '^.{14}8.{4}[89ab]');
--> statement-breakpoint
create trigger refuse_update before update on token_ledger.user_subject
for each row execute function token_ledger.refuse_change();
--> statement-breakpoint
alter table token_ledger.user_subject enable always trigger refuse_update;
--> statement-breakpoint
create trigger refuse_truncate before truncate on token_ledger.user_subject
for each statement execute function token_ledger.refuse_change();
--> statement-breakpoint
alter table token_ledger.user_subject enable always trigger refuse_truncate;
--> statement-breakpoint
create function token_ledger.keep_subject(kept text) returns void
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
--> statement-breakpoint
create or replace function token_ledger.begin_family(beginning json)
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
--> statement-breakpoint
create or replace function token_ledger.erase_traces(erased_user_id uuid)
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
--> statement-breakpoint
create or replace view token_audit.events as
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
--> statement-breakpoint
create or replace view token_audit.sessions as
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
--> statement-breakpoint
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
--> statement-breakpoint
create or replace view token_audit.replay_suspicions as
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
--> statement-breakpoint
create or replace view token_audit.admin_actions as
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
--> statement-breakpoint
create or replace function token_audit.sessions_at(at timestamptz)
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
--> statement-breakpoint
revoke all on function token_audit.user_id(text), token_ledger.keep_subject(text), token_ledger.is_derived(uuid)
from public;
--> statement-breakpoint
grant execute on function token_audit.user_id(text) to token_ledger_app, token_ledger_auditor;
--> statement-breakpoint
grant execute on function token_ledger.keep_subject(text), token_ledger.is_derived(uuid) to token_ledger_app;
--> statement-breakpoint
grant select, insert on token_ledger.user_subject to token_ledger_app;
