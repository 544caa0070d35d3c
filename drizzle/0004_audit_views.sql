-- The public interface for people and tools who ask in SQL. It holds no token hash, salt or password.

create view token_audit.events as
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
  e.prev_hash
from token_ledger.token_event e
join token_ledger.token_family f using (family_id)
left join token_ledger.user_account u on u.user_id = f.user_id;
--> statement-breakpoint
-- One row a session. ip and user_agent are those of its last sign-in or rotation.
create view token_audit.sessions as
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
  case when made.kind = 'rotated' then made.occurred_at end as last_rotated_at,
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
  case when last.kind in ('revoked', 'reuse_detected') then f.family_id || ':' || last.seq end as incident_id,
  made.ip,
  made.user_agent
from token_ledger.token_family f
cross join lateral (
  select kind, generation, occurred_at, expires_at, ip, user_agent
  from token_ledger.token_event e
  where e.family_id = f.family_id and e.kind in ('issued', 'rotated')
  order by e.seq desc
  limit 1
) made
cross join lateral (
  select seq, kind, occurred_at, reason
  from token_ledger.token_event e
  where e.family_id = f.family_id
  order by e.seq desc
  limit 1
) last
left join token_ledger.user_account u on u.user_id = f.user_id;
--> statement-breakpoint
-- How far behind the spent token was, and whether it came from where the newest one had gone: same
-- address and same user agent smell of a broken client rather than of a thief.
create view token_audit.reuse_incidents as
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
  e.user_agent
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
grant select on token_audit.events, token_audit.sessions, token_audit.reuse_incidents
to token_ledger_auditor, token_ledger_app;
