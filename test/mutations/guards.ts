import { mutationsOf } from './mutation.ts'

const history = ['test/db/legal-history.test.ts']
const guarded = ['test/db/guards.test.ts']
const never = 'when false then null\n'

/** Rules that the database itself enforces, whatever the service does. */
export const guards = [
  ...mutationsOf('drizzle/0029_authentications_of_rotations.sql', history, [
    [
      'SQL: a family begins with seq 2',
      "when last_seq is null and seq <> 1 then 'a family begins with seq 1'\n",
      never,
    ],
    [
      'SQL: a gap in seq',
      "when seq <> last_seq + 1 then format('seq %s does not follow %s', seq, last_seq)\n",
      never,
    ],
    [
      'SQL: an event after the end',
      "when last_kind in ('reuse_detected', 'revoked') then format('the family is over: %s', last_kind)\n",
      never,
    ],
    [
      'SQL: a family is issued twice',
      "when kind = 'issued' then 'a family is issued once'\n",
      never,
    ],
    [
      'SQL: a generation is missing or repeated',
      "when kind in ('rotated', 'reauthenticated') and generation <> last_generation + 1\n",
      "when kind in ('rotated', 'reauthenticated') and generation < last_generation\n",
    ],
    [
      'SQL: the end of a family moves',
      "when kind in ('rotated', 'reauthenticated') and absolute_expires_at <> family_ends_at\n",
      "when kind in ('rotated', 'reauthenticated') and absolute_expires_at < family_ends_at\n",
    ],
    [
      'SQL: the end of a family moves after a replay',
      "  if last.kind = 'replayed' then\n",
      '  if false then\n',
    ],
    [
      'SQL: a replay changes the generation',
      "when kind not in ('rotated', 'reauthenticated') and generation <> last_generation\n",
      "when kind = 'revoked' and generation <> last_generation\n",
    ],
    [
      'SQL: a revocation changes the generation',
      "when kind not in ('rotated', 'reauthenticated') and generation <> last_generation\n",
      "when kind = 'replayed' and generation <> last_generation\n",
    ],
    [
      'SQL: an event comes before the last one',
      "when occurred_at < last_occurred_at then 'an event may not come before the last one'\n",
      never,
    ],
    [
      'SQL: an event after the token had expired',
      'when occurred_at >= token_expires_at then',
      'when occurred_at > token_expires_at then',
    ],
    [
      'SQL: a rotation changes how its user was authenticated',
      "when kind = 'rotated' and methods is not null\n    and (methods,",
      'when false\n    and (methods,',
    ],
    [
      'SQL: a rotation changes when its user was authenticated',
      'is distinct from (token_methods, token_authenticated_at)',
      'is distinct from (token_methods, authenticated_at)',
    ],
    [
      'SQL: a reauthentication leaves its predecessor a grace window',
      "when kind = 'replayed' and reason = 'grace_window' and token_kind = 'reauthenticated'\n",
      'when false\n',
    ],
    ['SQL: 21 replays of one generation', 'seq - token_seq > 20', 'seq - token_seq > 21'],
    [
      'SQL: a first event without its family row',
      "when last_seq is null and has_same_family is null then 'the family row is missing'\n",
      never,
    ],
    [
      'SQL: a first event that differs from its family row',
      "when last_seq is null and not has_same_family then 'the family row differs from the first event'\n",
      never,
    ],
    [
      'SQL: an address without its salt',
      "when origin_salt is null and num_nonnulls(ip, user_agent) > 0 then 'ip or user_agent without their salt'\n",
      never,
    ],
    [
      'SQL: a network for an address',
      "when masklen(ip) < case family(ip) when 4 then 32 else 128 end then 'ip is a network'\n",
      never,
    ],
    [
      'SQL: a token that expires before it is made',
      "when expires_at <= occurred_at then 'a token may not expire before it is made'\n",
      never,
    ],
    [
      'SQL: an infinite end, on which verification fails',
      "or absolute_expires_at >= '10000-01-01T00:00:00Z'::timestamptz\n",
      '\n',
    ],
  ]),
  ...mutationsOf('drizzle/0015_only_what_verifies_is_appended.sql', history, [
    [
      'SQL: a family without its first event',
      'where e.family_id = new.family_id and e.seq = 1) then',
      'where e.family_id = new.family_id and e.seq = 1) and false then',
    ],
  ]),
  ...mutationsOf(
    'drizzle/0024_events_chained_in_batches.sql',
    ['test/db/applied-rows.test.ts'],
    [
      [
        'SQL: the service in replica mode is taken for a replica',
        "\n    and has_column_privilege('token_ledger.token_event'::regclass, 'hash', 'insert')\n",
        '\n',
      ],
    ],
  ),
  ...mutationsOf('drizzle/0024_events_chained_in_batches.sql', guarded, [
    [
      'SQL: an event with its hash goes unchecked in a month that is made later',
      "  execute format('alter table token_ledger.%I enable always trigger check_chained', name);\n",
      "  execute format('alter table token_ledger.%I disable trigger check_chained', name);\n",
    ],
  ]),
  ...mutationsOf(
    'drizzle/0024_events_chained_in_batches.sql',
    ['test/db/chained-batches.test.ts'],
    [
      [
        'SQL: an event with its hash goes unchecked in a partition',
        "where 'token_ledger.token_event'::regclass in (c.oid, i.inhparent)",
        "where 'token_ledger.token_event'::regclass in (c.oid)",
      ],
    ],
  ),
  ...mutationsOf(
    'drizzle/0029_authentications_of_rotations.sql',
    ['test/db/chained-batches.test.ts'],
    [
      [
        'SQL: a statement that becomes a replica goes unchecked',
        '    where a.hash <> token_ledger.event_hash(row(a.*)::token_ledger.token_event)\n',
        '    where false\n',
      ],
      ['SQL: a batch need not continue the chain', '      and a.prev_hash = last.hash\n', ''],
      [
        'SQL: an event of another transaction comes with another hash than it gets',
        '  if given_hash <> new.hash then\n',
        '  if false then\n',
      ],
      [
        'SQL: a batch may have the hash of another caller',
        '      and a.origin_hash = token_ledger.origin_hash(a.origin_salt, a.ip, a.user_agent)\n',
        '',
      ],
      [
        'SQL: a batch is checked without the token that a replay follows',
        "      last.kind in ('issued', 'rotated', 'reauthenticated')\n",
        '      true\n',
      ],
      [
        'SQL: the function hashes an event as of another',
        '      e.family_id, e.seq, last.hash, e.kind, e.generation,',
        '      e.family_id, e.seq, null, e.kind, e.generation,',
      ],
    ],
  ),
  ...mutationsOf(
    'drizzle/0029_authentications_of_rotations.sql',
    ['test/db/legal-history.test.ts'],
    [
      [
        'SQL: an older token is replayed in the grace window',
        "or reason = 'grace_window' and presented_generation = generation - 1",
        "or reason = 'grace_window'",
      ],
    ],
  ),
  ...mutationsOf(
    'drizzle/0027_authentications.sql',
    ['test/db/applied-rows.test.ts'],
    [
      [
        'SQL: a row of a replica is not compared with its hash',
        "new.authenticated_at)\n      then 'the hash does not match the content'\n",
        'new.authenticated_at)\n      then null\n',
      ],
    ],
  ),
  ...mutationsOf(
    'drizzle/0022_rows_past_the_service.sql',
    ['test/db/user-rows-by-sql.test.ts'],
    [
      [
        'SQL: user_account takes any spelling of an address',
        '  email collate "C" ~ \'',
        '  true or email collate "C" ~ \'',
      ],
      [
        'SQL: the sessions of a deleted user go on',
        'for each row when (not token_ledger.is_applying())\nexecute function token_ledger.end_sessions_of_deleted_user();',
        'for each row when (false)\nexecute function token_ledger.end_sessions_of_deleted_user();',
      ],
    ],
  ),
  ...mutationsOf('drizzle/0001_ledger_guards.sql', guarded, [
    [
      'SQL: an event is changed',
      "  if new is distinct from erased then\n    raise exception '%.% is append-only: update refused'",
      "  if false then\n    raise exception '%.% is append-only: update refused'",
    ],
    [
      'SQL: a family is changed',
      "  if new is distinct from erased then\n    raise exception '%.% is written once: update refused'",
      "  if false then\n    raise exception '%.% is written once: update refused'",
    ],
    [
      'SQL: the salt stays when a user is erased',
      '  erased.origin_salt := null;\n',
      '  erased.origin_salt := new.origin_salt;\n',
    ],
  ]),
  ...mutationsOf(
    'drizzle/0029_authentications_of_rotations.sql',
    ['test/db/append.test.ts'],
    [['SQL: an event does not name the one before', '  new.prev_hash := last.hash;\n', '']],
  ),
  ...mutationsOf(
    'drizzle/0029_authentications_of_rotations.sql',
    ['test/audit/tampering.test.ts'],
    [
      [
        'SQL: verification lets a rotation change the authentication',
        "then 'a rotation changes the authentication'\n",
        'then null\n',
      ],
      [
        'SQL: verification compares a rotation with the replay before it',
        'coalesce(token.methods, e.before_methods), coalesce(token.authenticated_at, e.before_authenticated_at))\n',
        'e.before_methods, e.before_authenticated_at)\n',
      ],
      [
        'SQL: any word is a method',
        "and array_to_string(methods, ' ') ~ '",
        "and array_to_string(methods, ' ') <> '",
      ],
      [
        'SQL: verification takes a malformed authentication',
        "then 'its authentication is malformed'\n",
        'then null\n',
      ],
      [
        'SQL: verification takes a replay in the grace window of a reauthentication',
        "then 'replayed in the grace window, but a reauthentication leaves none'\n",
        'then null\n',
      ],
    ],
  ),
  ...mutationsOf(
    'drizzle/0027_authentications.sql',
    ['test/audit/tampering.test.ts', 'test/audit/golden.test.ts'],
    [
      [
        'SQL: the hash leaves the generation out',
        '  || token_ledger.field(int4send(generation))\n',
        '',
      ],
    ],
  ),
  ...mutationsOf(
    'drizzle/0010_ledger_hashes_inlined.sql',
    ['test/audit/tampering.test.ts', 'test/audit/golden.test.ts'],
    [
      [
        'SQL: a hash depends on the encoding of the client',
        "token_ledger.field(convert_to(user_agent, 'UTF8'))",
        'token_ledger.field(textsend(user_agent))',
      ],
    ],
  ),
  ...mutationsOf(
    'drizzle/0029_authentications_of_rotations.sql',
    ['test/audit/follow.test.ts'],
    [
      [
        'SQL: an event of an older transaction is ordered before the one it follows',
        'new.txid := greatest(pg_current_xact_id(), last.txid)',
        'new.txid := pg_current_xact_id()',
      ],
    ],
  ),
  ...mutationsOf(
    'drizzle/0027_authentications.sql',
    ['test/db/user-rows-by-sql.test.ts'],
    [
      [
        'SQL: the end of a deleted user is not notified',
        "perform pg_notify('token_ledger_ends'",
        "perform pg_notify('another'",
      ],
    ],
  ),
  ...mutationsOf(
    'drizzle/0027_authentications.sql',
    ['test/attack/thief-keeps-step.test.ts'],
    [
      [
        'SQL: a suspicion is noted at each generation',
        'generations = array[new.generation - 2, new.generation - 1, new.generation]',
        'generations @> array[new.generation - 2, new.generation - 1, new.generation]',
      ],
      ['SQL: a suspicion is noted at each replay', 'current_seqs = array[new.seq] and ', ''],
    ],
  ),
  ...mutationsOf(
    'drizzle/0018_replays_from_elsewhere.sql',
    ['test/attack/thief-keeps-step.test.ts'],
    [['SQL: a network is one IPv4 address', 'when 4 then 24', 'when 4 then 32']],
  ),
  ...mutationsOf('drizzle/0000_ledger_tables.sql', history, [
    [
      'SQL: a token outlives its family',
      `CHECK ("token_ledger"."token_event"."expires_at" <= "token_ledger"."token_event"."absolute_expires_at")`,
      'CHECK (true)',
    ],
  ]),
  ...mutationsOf('drizzle/0029_authentications_of_rotations.sql', history, [
    [
      'SQL: a reuse of the current token',
      "when 'reuse_detected' then presented_generation between 0 and generation - 1\n",
      "when 'reuse_detected' then presented_generation between 0 and generation\n",
    ],
    ['SQL: a CHECK that is null is content', 'end) is true)', 'end))'],
  ]),
  ...mutationsOf('drizzle/0002_ledger_partitions.sql', guarded, [
    [
      'SQL: a partition can be truncated',
      "execute format('alter table token_ledger.%I enable always trigger refuse_truncate', part);",
      "execute format('alter table token_ledger.%I disable trigger refuse_truncate', part);",
    ],
  ]),
  ...mutationsOf('drizzle/0003_roles_and_grants.sql', guarded, [
    [
      'SQL: the service may choose the hash of an event',
      'ip, user_agent, origin_salt)\non',
      'ip, user_agent, origin_salt, hash)\non',
    ],
    [
      'SQL: the service may change an event',
      'grant select,\n  insert (family_id, seq,',
      'grant select, update,\n  insert (family_id, seq,',
    ],
    [
      'SQL: the auditor reads the tables',
      'grant usage on schema token_audit to token_ledger_auditor;',
      'grant usage on schema token_audit, token_ledger to token_ledger_auditor; grant select on token_ledger.token_event to token_ledger_auditor;',
    ],
  ]),
  ...mutationsOf(
    'drizzle/0021_months_of_the_default_partition.sql',
    ['test/attack/names-of-callers.test.ts'],
    [
      [
        'SQL: types of the caller run as the owner in ensure_partitions',
        'default 3) returns integer\nlanguage plpgsql security definer\nset search_path = pg_catalog, pg_temp',
        'default 3) returns integer\nlanguage plpgsql security definer\nset search_path = pg_catalog, token_ledger',
      ],
    ],
  ),
  ...mutationsOf(
    'drizzle/0013_functions_resolve_no_names_of_callers.sql',
    ['test/attack/names-of-callers.test.ts'],
    [
      [
        'SQL: any login may create temporary objects',
        "execute format('revoke temporary on database %I from public', current_database());",
        'null;',
      ],
      [
        'SQL: any login may create functions in public',
        'revoke create on schema public from public;',
        'null;',
      ],
    ],
  ),
  ...mutationsOf(
    'db/connection/driver.ts',
    ['test/attack/names-of-callers.test.ts'],
    [
      [
        'a migration runs functions that a login planted in public',
        'settings: { ...pinnedSettings, ...unlimited, ...settings }',
        'settings: { ...unlimited, ...settings }',
      ],
    ],
  ),
  ...mutationsOf(
    'drizzle/0014_turns_are_rows.sql',
    ['test/attack/held-locks.test.ts'],
    [
      [
        'SQL: an auditor keeps an admin from being disabled',
        "perform token_ledger.take_turn('keep_an_admin');",
        "perform pg_advisory_xact_lock(hashtextextended('token_ledger.keep_an_admin', 0));",
      ],
      [
        'SQL: an auditor takes the turns of the service',
        'revoke all on function token_ledger.take_turn(text) from public;',
        'grant execute on function token_ledger.take_turn(text) to token_ledger_auditor;\ngrant usage on schema token_ledger to token_ledger_auditor;',
      ],
    ],
  ),
  ...mutationsOf(
    'drizzle/0021_months_of_the_default_partition.sql',
    ['test/attack/held-locks.test.ts'],
    [
      [
        'SQL: an auditor keeps months from being made',
        "the others find them.\n  perform token_ledger.take_turn('partitions');",
        "the others find them.\n  perform pg_advisory_xact_lock(hashtextextended('token_ledger.ensure_partitions', 0));",
      ],
      [
        'SQL: any number of months is made ahead',
        'if months_ahead is null or months_ahead not between 0 and 24 then',
        'if false then',
      ],
    ],
  ),
  ...mutationsOf(
    'drizzle/0021_months_of_the_default_partition.sql',
    ['test/db/default-partition.test.ts'],
    [
      [
        'SQL: rows in the default partition keep their month from being made',
        '    if found_rows > 0 then\n',
        '    if false then\n',
      ],
      [
        'SQL: the service waits for a move of any length',
        'if found_rows > max_rows then',
        'if false then',
      ],
      [
        'SQL: a default partition that was split can be truncated',
        '      perform token_ledger.finish_partition(parent, rest);\n',
        '',
      ],
      [
        'SQL: a month that cannot be made keeps the others from being made',
        '      when others then\n',
        '      when others then raise;\n      when division_by_zero then\n',
      ],
    ],
  ),
  ...mutationsOf(
    'server/audit/archive.ts',
    ['test/db/default-partition.test.ts'],
    [
      [
        'sessions in the default partition are never archived',
        '    await makeClosedMonths(sql, to.beforeAt)\n',
        '',
      ],
    ],
  ),
  ...mutationsOf(
    'drizzle/0014_turns_are_rows.sql',
    ['test/admin/last-admin.test.ts'],
    [
      [
        'SQL: admins who demote each other do not take turns',
        "perform token_ledger.take_turn('keep_an_admin');",
        'null;',
      ],
    ],
  ),
  ...mutationsOf(
    'db/migrate.ts',
    ['test/attack/held-locks.test.ts'],
    [
      [
        'an auditor who holds the advisory lock keeps every process from starting',
        "        and pg_has_role(a.usesysid, current_user, 'member')`",
        '        `',
      ],
      [
        'a migration does not wait for one of the version before',
        '    if (holders.length === 0) return\n',
        '    return\n',
      ],
    ],
  ),
]
