-- What a batch of refreshes writes, in one statement and so in one transaction: the events were decided on a history
-- that was read before, and are appended, under the locks of their families, where that history is still the newest.

-- Appends one event each to those of the families that nobody else has locked, and that still end right before it.
-- Returns these; the others are to be read and decided again.
create function token_ledger.append_unless_changed(family_ids uuid[], events json) returns setof uuid
language plpgsql
set search_path = pg_catalog, token_ledger
set plan_cache_mode = force_generic_plan
as $$
declare
  locked uuid[];
begin
  select array_agg(l.family_id) into locked
  from (
    select f.family_id
    from token_ledger.token_family f
    where f.family_id = any(family_ids)
    order by f.family_id
    for update skip locked
  ) l;

  -- In a statement of its own: the one that locks has not seen what others appended before it had the lock.
  return query
  insert into token_ledger.token_event (
    family_id, seq, kind, generation, occurred_at, expires_at, absolute_expires_at, token_hash, salt,
    attempt_hash, presented_generation, reason, ip, user_agent, origin_salt)
  select
    e.family_id, e.seq, e.kind, e.generation, e.occurred_at, e.expires_at, e.absolute_expires_at, e.token_hash, e.salt,
    e.attempt_hash, e.presented_generation, e.reason, e.ip, e.user_agent, e.origin_salt
  from json_to_recordset(events) as e(
    family_id uuid, seq integer, kind text, generation integer, occurred_at timestamptz, expires_at timestamptz,
    absolute_expires_at timestamptz, token_hash bytea, salt bytea, attempt_hash bytea, presented_generation integer,
    reason text, ip inet, user_agent text, origin_salt bytea)
  where e.family_id = any(locked)
    and e.seq - 1 = (
      select last.seq
      from token_ledger.token_event last
      where last.family_id = e.family_id
      order by last.seq desc
      limit 1
    )
  returning family_id;
end
$$;
--> statement-breakpoint
revoke all on function token_ledger.append_unless_changed(uuid[], json) from public;
--> statement-breakpoint
grant execute on function token_ledger.append_unless_changed(uuid[], json) to token_ledger_app;
