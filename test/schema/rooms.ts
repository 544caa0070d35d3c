/** A section of `drizzle/schema.sql`. */
export type Room = {
  readonly title: string
  /** By kind and name, in an order in which they can be created: what each is for. */
  readonly objects: Readonly<Record<string, string>>
}

/**
 * The order of `drizzle/schema.sql`. Indexes and constraints are shown with their table, and a trigger after its table
 * or its function, whichever comes last. Rights are shown in a last room, which needs no list.
 */
export const rooms: readonly Room[] = [
  {
    title: 'Roles, schemas and the clock',
    objects: {
      'role token_ledger_app':
        'What the server runs as: each of its connections becomes this role. It cannot log in.',
      'role token_ledger_auditor':
        'For people and tools that ask in SQL: it reads token_audit and nothing else.',
      'schema token_ledger': 'The tables, and the functions that guard them.',
      'schema token_audit': 'The public SQL interface. It returns no token hash, salt or password.',
      'schema token_ledger_migrations': 'Which migrations have been applied.',
      'function token_ledger.clock':
        'The only clock: every instant in the ledger and every expiry check comes from it. Whole milliseconds.',
      'function token_ledger.is_authentication':
        'Whether a sign-in or a reauthentication has the methods and the instant that it may or must have: one to ten words ' +
        'that stay the same when they are joined by spaces, so that their hash has one meaning.',
    },
  },
  {
    title: 'The ledger',
    objects: {
      'table token_ledger.token_family':
        'One row per session (token family), written once at sign-in. Whether the session is still valid follows from ' +
        'its events alone. Transactions lock this row with SELECT … FOR UPDATE, which needs the right to update a ' +
        'column: that column is lock_mark, and it stays 0.',
      'table token_ledger.token_event':
        'One row per event, numbered by seq within its family. Append-only, with two exceptions: erasing a person nulls ' +
        'ip, user_agent and origin_salt, and archiving drops the partition of a past month. The constraint ' +
        'token_event_shape says which columns each kind of event has.',
    },
  },
  {
    title: 'Guards: the ledger is append-only',
    objects: {
      'function token_ledger.is_applying':
        'Whether this session applies rows that another database decided: the worker of a logical replica, or a ' +
        'restore. The service never does: it may not write a hash.',
      'function token_ledger.refuse_change': 'Refuses the statement (SQLSTATE TL001).',
      'function token_ledger.refuse_event_change':
        'Allows one change of an event: erasing ip and user_agent with the salt of their hash.',
      'function token_ledger.refuse_family_change':
        'Allows one change of a family: erasing the device name.',
    },
  },
  {
    title: 'The chain: how events are hashed and appended',
    objects: {
      'function token_ledger.field':
        'A field of a hashed record: its length, then its bytes. Null is the length -1.',
      'function token_ledger.origin_hash':
        'The hash of the address and user agent of a caller. The chain covers this hash, not the two themselves, so ' +
        'that they can be erased.',
      'function token_ledger.event_hash_of':
        'The hash of an event. Version 1 is this list of fields without the last two; an event that has one of them has ' +
        'version 2.',
      'function token_ledger.event_hash': 'The same, of a row.',
      'function token_ledger.newest_token': 'The newest event of a family that made a token.',
      'function token_ledger.history_problem':
        'The rules of a legal history: the problem of an event after those before it, or null. `last_` is the newest event, ' +
        '`token_` the newest that made a token.',
      'function token_ledger.chain_event':
        'Checks that a new event continues its family (TL002), then sets txid, origin_hash, prev_hash and hash. A ' +
        "txid is never below that of the event before it, so that readers who follow (txid, family_id, seq) get a family's events in order.",
      'function token_ledger.check_chained':
        'Checks the events that a statement inserted (TL002): each has to continue its family, with the hash that ' +
        'chain_event would have given it.',
      'function token_ledger.check_table':
        'Adds that check to the table or to a partition: a statement trigger does not come with a partition.',
      'function token_ledger.compare_event':
        'Takes an event that another database decided, in any order: compares its hash with the content and with the events ' +
        'before and after it that are there (TL002).',
      'function token_ledger.expect_first_event':
        'Refuses a family without its first event (TL002) when the transaction ends, because the family row comes first.',
      'function token_ledger.network_of':
        'The /24 of an IPv4 address or the /64 of an IPv6 address.',
      'table token_ledger.replay_suspicion':
        'One row per replay that made three generations in a row replayed from another network than that of the ' +
        'rotation. It names the event and holds no address.',
      'function token_ledger.suspect_replay':
        'Writes that row. A replay calls it, a rotation does not.',
      'function token_ledger.append_unless_changed':
        'Appends one event to each of these families and chains it, except those that another transaction has locked or ' +
        'appended to since the caller read them. Returns the families that got their event. It runs as the owner, because ' +
        'the service may not write a hash.',
      'function token_ledger.append_ends':
        'The same for sign-outs: each of these families gets its end, and followers get one notification for all.',
      'function token_ledger.begin_family':
        'Starts a session: locks the row of its user, then writes the family and its first event. Writes neither when ' +
        'all sessions of the user were ended since the caller read the epoch, or when too many families are open.',
    },
  },
  {
    title: 'Partitions: one per month of family_id, a UUIDv7',
    objects: {
      'function token_ledger.first_family_id': 'The lowest family_id of an instant.',
      'function token_ledger.last_family_id_before':
        'The highest family_id of the millisecond before an instant.',
      'function token_ledger.guard_partition':
        'Row triggers of a table apply to its partitions; a truncate trigger does not, and is added here.',
      'function token_ledger.expect_long_families':
        'Tells the planner that families have about fifty events. By its own estimate, made while families are young, ' +
        'it would read whole families where the newest event is enough.',
      'table token_ledger.token_family_default':
        'Takes families that no month takes, so that a sign-in never fails for want of a partition.',
      'table token_ledger.token_event_default': 'Takes the events of these families.',
      'function token_ledger.copy_unattached':
        'Copies rows of the default partition to a new table that can become a partition.',
      'function token_ledger.finish_partition':
        'What a new partition needs that it does not get from its table.',
      'function token_ledger.make_month':
        'Makes the partitions token_family_YYYYMM and token_event_YYYYMM where they are missing, and moves the rows ' +
        'there that the default partition has of this month, as they are. They depend on the date and are not shown here.',
      'function token_ledger.ensure_partitions':
        'Makes the months from this one on, at most 24 ahead. A month that cannot be made does not keep the others from ' +
        'being made; its problem is raised when there is nothing else to make.',
      'function token_ledger.make_closed_months':
        'Makes the months that ended before an instant and have families in the default partition. `ledger archive` calls it.',
      'function token_ledger.closed_months':
        'Months that ended before an instant, with the lowest and the highest family_id of each: what can be archived.',
    },
  },
  {
    title: 'Open families: an index of the ledger',
    objects: {
      'table token_ledger.open_family':
        'One row per family that may be active, by user: what lists of active sessions, the limit of sessions and "end ' +
        'all sessions" read. The events decide whether a family is valid. Verification compares the two.',
      'function token_ledger.keep_open_families':
        'Adds a family with its first event and removes it with its end, in the same transaction. A sign-in also removes ' +
        'families of its user that expired an hour ago or earlier.',
      'function token_ledger.sweep_open_families':
        'Removes families whose absolute expiry is an hour ago or earlier. Each process calls it once a day.',
      'function token_ledger.rebuild_open_families':
        'Makes the table anew from the events. Sign-ins and ends wait for it; rotations do not. For the owner.',
      'function token_ledger.check_open_families':
        'Families of a range where the table contradicts the events: verification calls it.',
    },
  },
  {
    title: 'Users, admins, keys and limits',
    objects: {
      'function token_audit.user_id':
        'The id that the ledger has for a user: a UUID in lower case stands for itself, unless its version is 8. Those are ' +
        'derived from every other text, by SHA-256. db/subjects.ts does the same.',
      'table token_ledger.user_subject':
        'The text of each derived id. A check binds the id to the text, so a row cannot give one user the sessions of ' +
        'another. Written once; erasing a person deletes the row.',
      'function token_ledger.is_derived':
        'Whether an id has the form of those that are derived from a text: UUIDs of version 8.',
      'function token_ledger.keep_subject':
        'Writes the text of a derived id, where there is one and it is not known.',
      'table token_ledger.user_account':
        "The service's own user directory. The ledger does not refer to it: an application may bring its own.",
      'table token_ledger.turn':
        'Work that one transaction does at a time, a row each. Only the owner can lock a row; the service does it by ' +
        'take_turn.',
      'function token_ledger.take_turn':
        'Locks a turn until the transaction ends. After five seconds it raises 55P03, and names the session that has it.',
      'function token_ledger.skip_known_turn':
        'Skips a turn that comes by replication or from a dump, because the migrations have made it.',
      'function token_ledger.keep_an_admin':
        'Raises TL003 rather than let the last enabled admin lose the role or be disabled.',
      'table token_ledger.user_epoch':
        'One row per user who ever signed in, locked by each sign-in and by "end all sessions". A sign-in reads epoch ' +
        'before it checks the password and compares it before it writes; ending all sessions raises it.',
      'function token_ledger.end_sessions_of_deleted_user':
        'Ends the sessions of a user whose row was deleted by SQL, and invalidates sign-ins in progress. The service ' +
        'deletes no user: an erasure keeps the row.',
      'table token_ledger.admin_action':
        'What admins and the command line did, and the reason they gave; append-only. actor_user_id is null for the ' +
        'command line.',
      'function token_ledger.continue_numbering':
        'Keeps the numbers of admin_action going on a replica: a sequence is not replicated.',
      'table token_ledger.signing_key':
        'Keys that sign access tokens. The private half is sealed with a key derived from AUTH_SECRET, which binds it to ' +
        'kid, created_at and signs_from. public_jwk is for versions before 0016; nothing reads it.',
      'table token_ledger.signing_key_removal':
        'Keys that were deleted; append-only. A signing_key whose kid is here is not used.',
      'function token_ledger.remember_removed_key':
        'Adds a deleted key to signing_key_removal, so that its row may come back but is not used again.',
      'table token_ledger.incarnation':
        'The lives of this database: one row from its first start, and one more for each `ledger restored`.',
      'table token_ledger.process_mark':
        'When each process last saw this database. A process that remembers a later time, or a row that is missing, ' +
        'sees a restored copy. started_at, version and lag_ms (how far it is behind the ends of sessions) are for people.',
      'table token_ledger.rate_limit':
        'Counts of the rate limits. A key is a limit and what it counts; accounts are keyed hashes. expire is in epoch ms.',
      'function token_ledger.erase_traces':
        'Nulls the addresses, user agents and device names of a user, and deletes the text of a derived id. The hashes ' +
        'stay. Returns the number of rows that held something.',
      'function token_ledger.revoke_create_from_public':
        'Revokes TEMPORARY on the database and CREATE on the schema public from PUBLIC, so that a login can create no ' +
        'function or type. Returns what the caller may not revoke. Each migrate calls it.',
      'function token_ledger.revoke_connect_from_public':
        'Revokes CONNECT on the database from PUBLIC, and grants it to the logins that use the ledger. Returns what the ' +
        'caller may not revoke. Each migrate calls it.',
      'table token_ledger_migrations.applied': "Written by drizzle's migrator.",
    },
  },
  {
    title: 'The log: one list of all hashes, which outsiders can check',
    objects: {
      'function token_ledger.admin_action_hash':
        'The hash of an admin action: version 1 is this list of fields.',
      'function token_ledger.chain_admin_action':
        'Sets prev_hash, hash and txid of a new admin action, one insertion at a time. Draws its number again where a ' +
        'later one was inserted meanwhile.',
      'table token_ledger.log_leaf':
        'One row per event and per admin action, numbered from 0 without gaps; append-only. The rows stay when a month ' +
        'is archived.',
      'table token_ledger.log_node':
        'Hashes of the Merkle tree (RFC 6962): a node of level n is over 256^n leaves. Append-only.',
      'table token_ledger.log_checkpoint':
        'Each checkpoint that was signed: size and root of the tree, and the signed note. Append-only.',
      'table token_ledger.log_key':
        'The Ed25519 key that signs checkpoints. The private half is sealed as those of signing_key.',
      'function token_ledger.fold_nodes': 'Hashes 2^n nodes in pairs until one is left (RFC 6962).',
      'function token_ledger.append_nodes':
        'Adds the nodes that are complete once the log has grown to a size.',
      'function token_ledger.append_leaves':
        'Appends the next 1,000 events and admin actions that are final, in the order (txid, family_id, seq). Returns ' +
        'how many, or null while another transaction appends.',
    },
  },
  {
    title: 'Audit: views and functions',
    objects: {
      'table token_ledger.event_hour':
        'How many events each hour had, without gaps from the first event on, up to counted_to in the newest one. Charts ' +
        'read it; later events are counted when asked. The counts of archived months stay.',
      'function token_ledger.count_hours':
        'Counts the next part of an hour, no longer than asked. Returns 0 when less than a minute is left, or another ' +
        'transaction counts, else 1. Each process calls it.',
      'view token_audit.events': 'One row per event.',
      'view token_audit.sessions':
        'One row per session, as it is now. ip and user_agent are those of its last sign-in or rotation.',
      'view token_audit.reuse_incidents':
        'One row per reuse: how old the presented token was, and whether it came from where the current one had gone. ' +
        'The same address and the same user agent suggest a bug in the client rather than a theft.',
      'view token_audit.replay_suspicions':
        'One row per suspicion, with the columns of reuse_incidents. The session goes on.',
      'view token_audit.checkpoints':
        'One row per signed checkpoint of the log, with the note as it is published.',
      'view token_audit.admin_actions': 'One row per action, with the e-mail addresses of today.',
      'function token_audit.session_state_at':
        'What a session was at an instant, events of that very instant included. No row when it had not begun.',
      'function token_audit.sessions_at':
        'The sessions that were active at an instant. E-mail addresses and device names are those of today.',
      'function token_ledger.check_families':
        'Computes every hash again and checks every history; server/ledger/chain.ts does the same for an export. One row ' +
        'per family, with its first problem or null.',
      'function token_audit.verify_family': 'One row. An unknown family is not intact.',
      'function token_audit.verify_ledger':
        'One row per broken family; none when the ledger is intact.',
    },
  },
]
