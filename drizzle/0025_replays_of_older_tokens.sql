-- A replay by the attempts of one client may go back several generations. Older processes may run beside this: yes, because they read such an event and write none.

-- A browser that dies within seconds comes back with an older cookie, and names the attempts that it made since.
alter table token_ledger.token_event drop constraint token_event_shape;
--> statement-breakpoint
alter table token_ledger.token_event add constraint token_event_shape check ((case kind
        when 'issued' then generation = 0
          and num_nonnulls(expires_at, user_id, absolute_expires_at, transport, token_hash) = 5
          and num_nonnulls(salt, attempt_hash, presented_generation, reason, actor_user_id) = 0
        when 'rotated' then generation >= 1
          and num_nonnulls(expires_at, absolute_expires_at, token_hash, salt) = 4
          and num_nonnulls(user_id, transport, presented_generation, reason, actor_user_id) = 0
        when 'replayed' then presented_generation between 0 and generation - 1
          and (reason = 'same_attempt' or reason = 'grace_window' and presented_generation = generation - 1)
          and num_nonnulls(expires_at, user_id, absolute_expires_at, transport, token_hash, salt, actor_user_id) = 0
        when 'reuse_detected' then presented_generation between 0 and generation - 1
          and num_nonnulls(expires_at, user_id, absolute_expires_at, transport, token_hash, salt, attempt_hash, reason, actor_user_id) = 0
        when 'revoked' then reason in ('logout', 'logout_everywhere', 'user_revoked', 'admin_revoked', 'password_changed', 'user_disabled', 'reuse_elsewhere', 'session_limit')
          and num_nonnulls(expires_at, user_id, absolute_expires_at, transport, token_hash, salt, attempt_hash, presented_generation) = 0
        else false
      end) is true);
--> statement-breakpoint
-- A row for each of the families `first` to `last`, both included: how many events it has, and the first place that is
-- wrong; null and null when it is intact.
create or replace function token_ledger.check_families(first uuid, last uuid)
returns table (family_id uuid, events integer, first_broken_seq integer, problem text)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
-- The range decides whether to read an index or everything.
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
begin
  return query
  with event as (
    select
      e.*,
      token_ledger.event_hash(e) as right_hash,
      token_ledger.origin_hash(e.origin_salt, e.ip, e.user_agent) as right_origin_hash,
      lag(e.seq) over history as before_seq,
      lag(e.kind) over history as before_kind,
      lag(e.generation) over history as before_generation,
      lag(e.occurred_at) over history as before_at,
      lag(e.hash) over history as before_hash,
      lag(e.txid) over history as before_txid,
      first_value(e.absolute_expires_at) over history as family_ends_at,
      -- Of the newest token there was: its seq, and when it expires in microseconds.
      max(case when e.kind in ('issued', 'rotated') and e.expires_at is not null
        then array[e.seq, (extract(epoch from e.expires_at) * 1000000)::bigint] end)
        over (history rows between unbounded preceding and 1 preceding) as made
    from token_ledger.token_event e
    where e.family_id between first and last
    window history as (partition by e.family_id order by e.seq)
  ),
  judged as (
    select
      e.family_id,
      case when e.seq > coalesce(e.before_seq, 0) + 1 then coalesce(e.before_seq, 0) + 1 else e.seq end as at_seq,
      case
        when e.seq <> coalesce(e.before_seq, 0) + 1 then format('event %s is missing', coalesce(e.before_seq, 0) + 1)
        when e.prev_hash is distinct from e.before_hash and e.before_seq is null then 'prev_hash of the first event is not empty'
        when e.prev_hash is distinct from e.before_hash then format('prev_hash is not the hash of event %s', e.before_seq)
        when e.hash is distinct from e.right_hash then 'the hash does not match the content'
        when e.origin_salt is null and num_nonnulls(e.ip, e.user_agent) > 0 then 'ip or user_agent without their salt'
        when e.origin_salt is not null and (e.origin_hash is distinct from e.right_origin_hash or e.ip <> host(e.ip)::inet)
          then 'ip or user_agent do not match their hash'
        when e.before_seq is null and e.kind <> 'issued' then format('it begins with %s', e.kind)
        when e.before_kind in ('revoked', 'reuse_detected') then format('%s after the family was over', e.kind)
        when e.before_seq is not null and e.kind = 'issued' then 'it is issued twice'
        when e.kind = 'issued' and e.generation <> 0 then format('it begins with generation %s', e.generation)
        when e.kind = 'rotated' and e.generation <> e.before_generation + 1
          then format('generation %s follows %s', e.generation, e.before_generation)
        when e.kind not in ('issued', 'rotated') and e.generation <> e.before_generation
          then format('%s changes the generation', e.kind)
        when e.kind = 'replayed' and e.reason = 'grace_window' and e.presented_generation is distinct from e.generation - 1
          then 'replayed in the grace window, but not the direct predecessor'
        when e.kind = 'replayed' and (e.presented_generation is null or e.presented_generation >= e.generation)
          then 'the token that was replayed was not spent'
        when e.kind = 'reuse_detected' and (e.presented_generation is null or e.presented_generation >= e.generation)
          then 'the token that came back was not spent'
        when e.occurred_at < e.before_at then 'it comes before the event before it'
        when e.kind in ('issued', 'rotated') and e.absolute_expires_at is distinct from e.family_ends_at
          then 'the end of the family moved'
        when e.expires_at > e.absolute_expires_at then 'the token outlives the family'
        when (extract(epoch from e.occurred_at) * 1000000)::bigint >= e.made[2]
          then format('%s after the token had expired', e.kind)
        when e.kind = 'replayed' and e.seq - e.made[1] > 20 then 'replayed more than 20 times'
        when e.txid < e.before_txid then 'its transaction is older than the one before'
        when e.seq = 1 and f.family_id is null then 'the family row is missing'
        when e.seq = 1 and (f.user_id, f.transport, f.created_at, f.absolute_expires_at, f.lock_mark)
          is distinct from (e.user_id, e.transport, e.occurred_at, e.absolute_expires_at, 0::smallint)
          then 'the family row differs from the first event'
      end as problem
    from event e
    left join token_ledger.token_family f
      on e.seq = 1 and f.family_id = e.family_id and f.family_id between first and last
  ),
  family as (
    select
      judged.family_id,
      count(*)::integer as events,
      min(judged.at_seq) filter (where judged.problem is not null) as at_seq,
      (array_agg(judged.problem order by judged.at_seq) filter (where judged.problem is not null))[1] as problem
    from judged
    group by judged.family_id
  )
  select family.family_id, family.events, family.at_seq, family.problem
  from family
  union all
  select f.family_id, 0, 1, 'event 1 is missing'
  from token_ledger.token_family f
  where f.family_id between first and last
    and not exists (
      select
      from token_ledger.token_event e
      where e.family_id = f.family_id and e.family_id between first and last
    )
  order by 1;
end
$$;
