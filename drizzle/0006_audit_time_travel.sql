-- What was true at a moment: folded from the events up to it, by the rules the service folds by.
-- "security definer": who may ask about a moment may not read the tables.

-- No row for a session that had not begun, or is unknown. What happened in the very millisecond counts.
create function token_audit.session_state_at(family_id uuid, at timestamptz)
returns table (
  status text,
  generation integer,
  expires_at timestamptz,
  end_reason text,
  incident_id text
)
language sql stable security definer
set search_path = pg_catalog, token_ledger
as $$
  select
    case
      when last.kind in ('revoked', 'reuse_detected') then last.kind
      when made.expires_at <= session_state_at.at then 'expired'
      else 'active'
    end,
    made.generation,
    made.expires_at,
    case
      when last.kind = 'revoked' then last.reason
      when last.kind = 'reuse_detected' then last.kind
      when made.expires_at <= session_state_at.at then 'expired'
    end,
    case
      when last.kind in ('revoked', 'reuse_detected') then session_state_at.family_id || ':' || last.seq
    end
  from (
    select e.generation, e.expires_at
    from token_ledger.token_event e
    where e.family_id = session_state_at.family_id
      and e.kind in ('issued', 'rotated')
      and e.occurred_at <= session_state_at.at
    order by e.seq desc
    limit 1
  ) made
  cross join (
    select e.seq, e.kind, e.reason
    from token_ledger.token_event e
    where e.family_id = session_state_at.family_id
      and e.occurred_at <= session_state_at.at
    order by e.seq desc
    limit 1
  ) last
$$;
--> statement-breakpoint
-- The sessions that were active at that moment, as token_audit.sessions would have shown them. E-mails and
-- device names are those of today.
create function token_audit.sessions_at(at timestamptz) returns setof token_audit.sessions
language sql stable security definer
set search_path = pg_catalog, token_ledger
as $$
  select
    f.family_id,
    f.user_id,
    u.email,
    'active',
    f.transport,
    f.device_name,
    f.created_at,
    case when made.kind = 'rotated' then made.occurred_at end,
    made.generation,
    made.expires_at,
    f.absolute_expires_at,
    null::timestamptz,
    null::text,
    null::text,
    made.ip,
    made.user_agent
  from token_ledger.token_family f
  cross join lateral (
    select e.kind, e.generation, e.occurred_at, e.expires_at, e.ip, e.user_agent
    from token_ledger.token_event e
    where e.family_id = f.family_id
      and e.kind in ('issued', 'rotated')
      and e.occurred_at <= sessions_at.at
    order by e.seq desc
    limit 1
  ) made
  left join token_ledger.user_account u on u.user_id = f.user_id
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
revoke all on function
  token_audit.session_state_at(uuid, timestamptz),
  token_audit.sessions_at(timestamptz)
from public;
--> statement-breakpoint
grant execute on function
  token_audit.session_state_at(uuid, timestamptz),
  token_audit.sessions_at(timestamptz)
to token_ledger_auditor, token_ledger_app;
