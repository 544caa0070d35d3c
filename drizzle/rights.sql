-- The rights of the roles, and the state of the triggers, as the migrations leave them. `migrate` runs this each time:
-- a backup can be restored without them. Written by `npm run schema:dump`.

revoke all on function
  token_audit.session_state_at,
  token_audit.sessions_at,
  token_audit.user_id,
  token_audit.verify_family,
  token_audit.verify_ledger,
  token_ledger.append_ends,
  token_ledger.append_leaves,
  token_ledger.append_nodes,
  token_ledger.append_unless_changed,
  token_ledger.begin_family,
  token_ledger.chain_admin_action,
  token_ledger.chain_event,
  token_ledger.check_chained,
  token_ledger.check_families,
  token_ledger.check_open_families,
  token_ledger.check_table,
  token_ledger.closed_months,
  token_ledger.compare_event,
  token_ledger.continue_numbering,
  token_ledger.copy_unattached,
  token_ledger.count_hours,
  token_ledger.end_sessions_of_deleted_user,
  token_ledger.ensure_partitions,
  token_ledger.erase_traces,
  token_ledger.expect_first_event,
  token_ledger.expect_long_families,
  token_ledger.finish_partition,
  token_ledger.guard_partition,
  token_ledger.is_derived,
  token_ledger.keep_an_admin,
  token_ledger.keep_open_families,
  token_ledger.keep_subject,
  token_ledger.make_closed_months,
  token_ledger.make_month,
  token_ledger.network_of,
  token_ledger.rebuild_open_families,
  token_ledger.refuse_change,
  token_ledger.refuse_event_change,
  token_ledger.refuse_family_change,
  token_ledger.remember_removed_key,
  token_ledger.revoke_connect_from_public,
  token_ledger.revoke_create_from_public,
  token_ledger.skip_known_turn,
  token_ledger.suspect_replay,
  token_ledger.sweep_open_families,
  token_ledger.take_turn
from public;

grant usage on schema token_audit, token_ledger, token_ledger_migrations to token_ledger_app;
grant select on
  token_audit.admin_actions,
  token_audit.checkpoints,
  token_audit.events,
  token_audit.replay_suspicions,
  token_audit.reuse_incidents,
  token_audit.sessions,
  token_ledger.event_hour,
  token_ledger.log_leaf,
  token_ledger.log_node,
  token_ledger.open_family,
  token_ledger.replay_suspicion,
  token_ledger.signing_key_removal,
  token_ledger_migrations.applied
to token_ledger_app;
grant select,
  insert (actor_user_id, action, target_user_id, family_id, role, reason)
on token_ledger.admin_action to token_ledger_app;
grant select,
  insert (copy_of),
  update (noticed_copy_of)
on token_ledger.incarnation to token_ledger_app;
grant select, insert (size, root, note) on token_ledger.log_checkpoint to token_ledger_app;
grant select, insert, update (sealed_private_key) on token_ledger.log_key to token_ledger_app;
grant select, insert, update, delete on
  token_ledger.process_mark,
  token_ledger.rate_limit
to token_ledger_app;
grant select,
  insert,
  update (sealed_private_key),
  delete
on token_ledger.signing_key to token_ledger_app;
grant select,
  insert (
    family_id, seq, kind, generation, occurred_at, expires_at, absolute_expires_at, user_id,
    transport, token_hash, salt, attempt_hash, presented_generation, reason, actor_user_id, ip,
    user_agent, origin_salt, methods, authenticated_at
  )
on token_ledger.token_event to token_ledger_app;
grant select,
  insert (family_id, user_id, transport, device_name, created_at, absolute_expires_at),
  update (lock_mark)
on token_ledger.token_family to token_ledger_app;
grant select, insert, update on
  token_ledger.user_account,
  token_ledger.user_epoch
to token_ledger_app;
grant select, insert on token_ledger.user_subject to token_ledger_app;
grant execute on function
  token_audit.session_state_at,
  token_audit.sessions_at,
  token_audit.user_id,
  token_audit.verify_family,
  token_audit.verify_ledger,
  token_ledger.append_ends,
  token_ledger.append_leaves,
  token_ledger.append_unless_changed,
  token_ledger.begin_family,
  token_ledger.check_families,
  token_ledger.check_open_families,
  token_ledger.count_hours,
  token_ledger.ensure_partitions,
  token_ledger.is_derived,
  token_ledger.keep_subject,
  token_ledger.sweep_open_families,
  token_ledger.take_turn
to token_ledger_app;

grant usage on schema token_audit to token_ledger_auditor;
grant select on
  token_audit.admin_actions,
  token_audit.checkpoints,
  token_audit.events,
  token_audit.replay_suspicions,
  token_audit.reuse_incidents,
  token_audit.sessions
to token_ledger_auditor;
grant execute on function
  token_audit.session_state_at,
  token_audit.sessions_at,
  token_audit.user_id,
  token_audit.verify_family,
  token_audit.verify_ledger
to token_ledger_auditor;

-- A partition has the triggers of its table. A is "enable always", O is "enable".
do $$
declare
  wrong record;
begin
  for wrong in
    select t.tgrelid::regclass as guarded, t.tgname as name, due.state
    from (values
      ('token_ledger.admin_action'::regclass, 'chain_admin_action', 'A'),
      ('token_ledger.admin_action'::regclass, 'continue_numbering', 'A'),
      ('token_ledger.admin_action'::regclass, 'refuse_change', 'A'),
      ('token_ledger.admin_action'::regclass, 'refuse_truncate', 'A'),
      ('token_ledger.log_checkpoint'::regclass, 'refuse_change', 'A'),
      ('token_ledger.log_checkpoint'::regclass, 'refuse_truncate', 'A'),
      ('token_ledger.log_key'::regclass, 'refuse_delete', 'A'),
      ('token_ledger.log_key'::regclass, 'refuse_truncate', 'A'),
      ('token_ledger.log_leaf'::regclass, 'refuse_change', 'A'),
      ('token_ledger.log_leaf'::regclass, 'refuse_truncate', 'A'),
      ('token_ledger.log_node'::regclass, 'refuse_change', 'A'),
      ('token_ledger.log_node'::regclass, 'refuse_truncate', 'A'),
      ('token_ledger.signing_key'::regclass, 'remember_removed_key', 'A'),
      ('token_ledger.signing_key_removal'::regclass, 'refuse_change', 'A'),
      ('token_ledger.signing_key_removal'::regclass, 'refuse_truncate', 'A'),
      ('token_ledger.token_event'::regclass, 'chain_event', 'A'),
      ('token_ledger.token_event'::regclass, 'check_chained', 'A'),
      ('token_ledger.token_event'::regclass, 'compare_event', 'A'),
      ('token_ledger.token_event'::regclass, 'keep_open_families', 'A'),
      ('token_ledger.token_event'::regclass, 'refuse_delete', 'A'),
      ('token_ledger.token_event'::regclass, 'refuse_truncate', 'A'),
      ('token_ledger.token_event'::regclass, 'refuse_update', 'A'),
      ('token_ledger.token_event'::regclass, 'suspect_replay', 'A'),
      ('token_ledger.token_family'::regclass, 'expect_first_event', 'A'),
      ('token_ledger.token_family'::regclass, 'refuse_delete', 'A'),
      ('token_ledger.token_family'::regclass, 'refuse_truncate', 'A'),
      ('token_ledger.token_family'::regclass, 'refuse_update', 'A'),
      ('token_ledger.turn'::regclass, 'skip_known_turn', 'A'),
      ('token_ledger.user_account'::regclass, 'end_sessions_of_deleted_user', 'A'),
      ('token_ledger.user_account'::regclass, 'keep_an_admin', 'O'),
      ('token_ledger.user_subject'::regclass, 'refuse_truncate', 'A'),
      ('token_ledger.user_subject'::regclass, 'refuse_update', 'A')
    ) due (guarded, name, state)
    join pg_trigger t on t.tgname = due.name and t.tgenabled <> due.state::"char"
    left join pg_inherits i on i.inhrelid = t.tgrelid
    where due.guarded = coalesce(i.inhparent, t.tgrelid)
  loop
    execute format('alter table only %s enable %s trigger %I',
      wrong.guarded, case wrong.state when 'A' then 'always' end, wrong.name);
  end loop;
end
$$;
