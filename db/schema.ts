import { sql } from 'drizzle-orm'
import {
  bigint,
  check,
  customType,
  index,
  inet,
  integer,
  jsonb,
  pgSchema,
  primaryKey,
  smallint,
  text,
  timestamp,
  uniqueIndex,
  uuid,
  varchar,
} from 'drizzle-orm/pg-core'
import type {
  EventKind,
  ReplayReason,
  RevocationReason,
  Transport,
} from '../server/ledger/events.ts'
import type { EndReason, SessionStatus } from '../server/ledger/family.ts'

/** The service's tables. People and tools query the views of schema `token_audit` instead. */
export const tokenLedgerSchema = pgSchema('token_ledger')

const bytea = customType<{ data: Buffer }>({ dataType: () => 'bytea' })
const xid8 = customType<{ data: string }>({ dataType: () => 'xid8' })
const instant = (name: string) => timestamp(name, { withTimezone: true })

const roles = ['user', 'admin'] as const

/** What an admin or the command line can do. */
export const adminActions = [
  'user_created',
  'role_set',
  'user_disabled',
  'user_enabled',
  'user_erased',
  'session_revoked',
  'sessions_revoked',
  'ledger_archived',
  'ledger_restored',
  'checkpoint_overruled',
] as const

/**
 * One row per token family (a session), inserted once. Transactions that change a session lock this row.
 *
 * Partitioned by month of `family_id` (a UUIDv7), so that whole months can be archived. Whether the session is
 * valid is not stored here: it follows from the session's events.
 */
export const tokenFamily = tokenLedgerSchema.table(
  'token_family',
  {
    familyId: uuid('family_id').primaryKey(),
    userId: uuid('user_id').notNull(),
    transport: text('transport').$type<Transport>().notNull(),
    /** Chosen by the user; erasable. */
    deviceName: text('device_name'),
    createdAt: instant('created_at').notNull(),
    absoluteExpiresAt: instant('absolute_expires_at').notNull(),
    /** `select … for update` needs the right to update one column. This is that column; a trigger keeps it 0. */
    lockMark: smallint('lock_mark').notNull().default(0),
  },
  (t) => [
    index('token_family_by_user').on(t.userId, t.familyId),
    check('token_family_transport_known', sql`${t.transport} in ('cookie', 'body')`),
    check('token_family_device_name_short', sql`length(${t.deviceName}) <= 100`),
    check('token_family_expires_later', sql`${t.absoluteExpiresAt} > ${t.createdAt}`),
  ],
)

/**
 * The ledger: one row per event, append-only, each family's events chained by hash.
 *
 * Only `db/ledger/append.ts` writes it. Triggers compute `hash` and `prev_hash`, and refuse illegal histories,
 * updates, deletes and truncation. Instants are whole milliseconds.
 */
export const tokenEvent = tokenLedgerSchema.table(
  'token_event',
  {
    familyId: uuid('family_id').notNull(),
    /** Counts from 1, without gaps, in each family. */
    seq: integer('seq').notNull(),
    kind: text('kind').$type<EventKind>().notNull(),
    /** The family's current generation once this event has happened. */
    generation: integer('generation').notNull(),
    occurredAt: instant('occurred_at').notNull(),
    /** `issued`, `rotated`, `reauthenticated`: when this event's token expires if it is not used. */
    expiresAt: instant('expires_at'),
    /** `issued`, `rotated`, `reauthenticated`: when the family expires even if it is used; the same in the whole family. */
    absoluteExpiresAt: instant('absolute_expires_at'),
    /** `issued`: the user, and how clients present the token. */
    userId: uuid('user_id'),
    transport: text('transport').$type<Transport>(),
    /** `issued`, `rotated`, `reauthenticated`: SHA-256 of the secret of the token made by this event. */
    tokenHash: bytea('token_hash'),
    /** `rotated`, `reauthenticated`: the new token is derived from the spent one and this salt, which is useless without it. */
    salt: bytea('salt'),
    /** `rotated`, `reauthenticated`, `replayed`: SHA-256 of the client's `attemptId`, if it sent one. */
    attemptHash: bytea('attempt_hash'),
    /** `replayed`, `reuse_detected`: the generation of the presented, spent token. */
    presentedGeneration: integer('presented_generation'),
    /** `replayed`, `revoked`: why. */
    reason: text('reason').$type<ReplayReason | RevocationReason>(),
    /** `revoked`: whose act it was; null when it was the service's own. */
    actorUserId: uuid('actor_user_id'),
    /** Personal data. Erasure sets these three to null: the chain covers only `origin_hash`. */
    ip: inet('ip'),
    userAgent: text('user_agent'),
    originSalt: bytea('origin_salt'),
    /** SHA-256(origin_salt ‖ ip ‖ user_agent), length-prefixed; an insert trigger computes it. */
    originHash: bytea('origin_hash').notNull(),
    prevHash: bytea('prev_hash'),
    hash: bytea('hash').notNull(),
    /** The transaction that inserted the event: readers that follow the ledger order events by it. */
    txid: xid8('txid')
      .notNull()
      .default(sql`pg_current_xact_id()`),
    /** `issued`, `rotated`, `reauthenticated`: how the user proved who they are, in the words of RFC 8176, and when. */
    methods: text('methods').array(),
    authenticatedAt: instant('authenticated_at'),
  },
  (t) => [
    primaryKey({ columns: [t.familyId, t.seq] }),
    index('token_event_by_txid').on(t.txid, t.familyId, t.seq),
    // For queries of a period. Rows arrive in the order of time, so a BRIN index of a few bytes per MB is enough.
    index('token_event_by_time').using('brin', t.occurredAt).with({ autosummarize: true }),
    index('token_event_reuse')
      .on(t.occurredAt, t.familyId)
      .where(sql`${t.kind} = 'reuse_detected'`),
    // For `readFamilyEnds` (db/ledger/ends.ts), which every process polls. Refreshes add nothing to it.
    index('token_event_ends')
      .on(t.occurredAt, t.familyId)
      .where(sql`${t.kind} in ('revoked', 'reuse_detected')`),
    check('token_event_seq_positive', sql`${t.seq} >= 1`),
    check('token_event_expires_in_time', sql`${t.expiresAt} <= ${t.absoluteExpiresAt}`),
    check(
      'token_event_whole_milliseconds',
      sql`${t.occurredAt} = date_trunc('milliseconds', ${t.occurredAt})
        and ${t.expiresAt} = date_trunc('milliseconds', ${t.expiresAt})
        and ${t.absoluteExpiresAt} = date_trunc('milliseconds', ${t.absoluteExpiresAt})`,
    ),
    check(
      'token_event_shape',
      // `is true`, because a CHECK that evaluates to null passes.
      sql`(case ${t.kind}
        when 'issued' then ${t.generation} = 0
          and num_nonnulls(${t.expiresAt}, ${t.userId}, ${t.absoluteExpiresAt}, ${t.transport}, ${t.tokenHash}) = 5
          and num_nonnulls(${t.salt}, ${t.attemptHash}, ${t.presentedGeneration}, ${t.reason}, ${t.actorUserId}) = 0
        when 'replayed' then ${t.presentedGeneration} between 0 and ${t.generation} - 1
          and (${t.reason} = 'same_attempt' or ${t.reason} = 'grace_window' and ${t.presentedGeneration} = ${t.generation} - 1)
          and num_nonnulls(${t.expiresAt}, ${t.userId}, ${t.absoluteExpiresAt}, ${t.transport}, ${t.tokenHash}, ${t.salt}, ${t.actorUserId}) = 0
        when 'reuse_detected' then ${t.presentedGeneration} between 0 and ${t.generation} - 1
          and num_nonnulls(${t.expiresAt}, ${t.userId}, ${t.absoluteExpiresAt}, ${t.transport}, ${t.tokenHash}, ${t.salt}, ${t.attemptHash}, ${t.reason}, ${t.actorUserId}) = 0
        when 'revoked' then ${t.reason} in ('logout', 'logout_everywhere', 'user_revoked', 'admin_revoked', 'password_changed', 'user_disabled', 'reuse_elsewhere', 'session_limit')
          and num_nonnulls(${t.expiresAt}, ${t.userId}, ${t.absoluteExpiresAt}, ${t.transport}, ${t.tokenHash}, ${t.salt}, ${t.attemptHash}, ${t.presentedGeneration}) = 0
        else ${t.kind} in ('rotated', 'reauthenticated') and ${t.generation} >= 1
          and num_nonnulls(${t.expiresAt}, ${t.absoluteExpiresAt}, ${t.tokenHash}, ${t.salt}) = 4
          and num_nonnulls(${t.userId}, ${t.transport}, ${t.presentedGeneration}, ${t.reason}, ${t.actorUserId}) = 0
      end) is true`,
    ),
    check(
      'token_event_authentication',
      // A rotation has that of the token before, or none: history_problem.
      sql`case
        when ${t.kind} = 'rotated' then num_nonnulls(${t.methods}, ${t.authenticatedAt}) <> 1
        when ${t.kind} in ('issued', 'reauthenticated')
          then token_ledger.is_authentication(${t.kind}, ${t.methods}, ${t.authenticatedAt}, ${t.occurredAt})
        else num_nonnulls(${t.methods}, ${t.authenticatedAt}) = 0
      end`,
    ),
    check(
      'token_event_sizes',
      sql`length(${t.tokenHash}) = 32 and length(${t.salt}) = 16 and length(${t.attemptHash}) = 32
        and length(${t.originHash}) = 32 and length(${t.originSalt}) = 16 and length(${t.hash}) = 32
        and length(${t.prevHash}) = 32 and length(${t.userAgent}) <= 512`,
    ),
  ],
)

/** Replays that made three generations in a row replayed from elsewhere. The trigger `suspect_replay` writes them. */
export const replaySuspicion = tokenLedgerSchema.table(
  'replay_suspicion',
  {
    familyId: uuid('family_id').notNull(),
    seq: integer('seq').notNull(),
    occurredAt: instant('occurred_at').notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.familyId, t.seq] }),
    index('replay_suspicion_by_time').on(t.occurredAt, t.familyId),
  ],
)

/**
 * One row per family that may be active: an index of the ledger, by user. A trigger of `token_event` writes it, and
 * nothing else may. It never decides whether a session is valid; a family in it may have expired.
 */
export const openFamily = tokenLedgerSchema.table(
  'open_family',
  {
    familyId: uuid('family_id').primaryKey(),
    userId: uuid('user_id').notNull(),
    absoluteExpiresAt: instant('absolute_expires_at').notNull(),
  },
  (t) => [index('open_family_by_user').on(t.userId, t.familyId)],
)

/**
 * One row per user who has signed in. Sign-ins and "end all sessions" lock it, so they run one at a time.
 *
 * A sign-in reads `epoch` before it checks the password, and again when it writes the session. If the two
 * differ, all sessions were ended in between, and the sign-in is refused.
 */
export const userEpoch = tokenLedgerSchema.table('user_epoch', {
  userId: uuid('user_id').primaryKey(),
  epoch: integer('epoch').notNull().default(0),
})

/**
 * The ids of a team's own users that are no UUIDs, each with the id that the ledger has instead: see `db/subjects.ts`. A
 * row is never changed. Erasing a person deletes it.
 */
export const userSubject = tokenLedgerSchema.table(
  'user_subject',
  {
    userId: uuid('user_id').primaryKey(),
    subject: text('subject').notNull(),
  },
  (t) => [
    // As `subjectProblem`: characters, and no control character.
    check(
      'user_subject_shape',
      sql`char_length(${t.subject}) between 1 and 255 and ${t.subject} collate "C" !~ '[\\u0001-\\u001f\\u007f-\\u009f]'`,
    ),
    // The id follows from the text, so a row cannot give one person's sessions to another.
    check(
      'user_subject_derived',
      sql`${t.userId} = token_audit.user_id(${t.subject}) and ${t.userId}::text <> ${t.subject}`,
    ),
  ],
)

/** An SQL literal. A dot-atom in lower case, and a host name. */
const canonicalEmail = (() => {
  const atom = "[a-z0-9!#$%&''*+/=?^_`{|}~-]+"
  const label = '[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?'
  return sql.raw(`'^${atom}([.]${atom})*@(${label}[.])*${label}$'`)
})()

/** The built-in user directory. A service may use its own instead: no table of the ledger refers to this one. */
export const userAccount = tokenLedgerSchema.table(
  'user_account',
  {
    userId: uuid('user_id').primaryKey(),
    /** In canonical form: see `server/users/email.ts`. Null after erasure. */
    email: text('email').unique('user_account_email_taken'),
    /** A PHC string, argon2id. */
    passwordHash: text('password_hash').notNull(),
    role: text('role', { enum: roles }).notNull(),
    disabledAt: instant('disabled_at'),
    createdAt: instant('created_at')
      .notNull()
      .default(sql`token_ledger.clock()`),
  },
  (t) => [
    // For prefixes: the unique index is in the order of the database's language.
    index('user_account_by_prefix').on(sql`${t.email} collate "C"`),
    // Such an id would be taken for that of another directory: see `db/subjects.ts`.
    check('user_account_not_derived', sql`${t.userId}::text !~ '^.{14}8.{4}[89ab]'`),
    check('user_account_role_known', sql`${t.role} in ('user', 'admin')`),
    check('user_account_email_length', sql`length(${t.email}) between 3 and 254`),
    // As `server/users/email.ts`, but for broken Punycode.
    check(
      'user_account_email_canonical',
      sql`${t.email} collate "C" ~ ${canonicalEmail}
        and ${t.email} collate "C" !~ '[.@][0-9]+$'
        and strpos(${t.email}, '@') <= 65`,
    ),
  ],
)

/**
 * Actions of admins and of the command line, append-only. When one ends a session, the ledger records the end
 * and the actor; this table records the reason given.
 */
export const adminAction = tokenLedgerSchema.table(
  'admin_action',
  {
    actionId: bigint('action_id', { mode: 'number' }).primaryKey().generatedAlwaysAsIdentity(),
    occurredAt: instant('occurred_at')
      .notNull()
      .default(sql`token_ledger.clock()`),
    /** Null for the command line. */
    actorUserId: uuid('actor_user_id'),
    action: text('action', { enum: adminActions }).notNull(),
    targetUserId: uuid('target_user_id'),
    familyId: uuid('family_id'),
    /** `user_created`, `role_set`: the user's role after the action. */
    role: text('role', { enum: roles }),
    /** As the admin wrote it. It must not hold personal data, because it cannot be erased. */
    reason: text('reason'),
    /** The hash of the action before it; null in the first one. Set by a trigger, as are the next two. */
    prevHash: bytea('prev_hash'),
    /** SHA-256 of all columns above. */
    hash: bytea('hash').notNull(),
    /** The transaction, never below that of the action before. */
    txid: xid8('txid')
      .notNull()
      .default(sql`pg_current_xact_id()`),
  },
  (t) => [
    index('admin_action_by_target').on(t.targetUserId, t.actionId),
    index('admin_action_by_family').on(t.familyId),
    index('admin_action_by_txid').on(t.txid, t.actionId),
    check('admin_action_sizes', sql`length(${t.hash}) = 32 and length(${t.prevHash}) = 32`),
    check(
      'admin_action_known',
      sql`${t.action} in ('user_created', 'role_set', 'user_disabled', 'user_enabled', 'user_erased', 'session_revoked', 'sessions_revoked', 'ledger_archived', 'ledger_restored', 'checkpoint_overruled')`,
    ),
    check('admin_action_reason_short', sql`length(${t.reason}) <= 500`),
  ],
)

/**
 * Keys that sign access tokens. The private half is encrypted with a key derived from `AUTH_SECRET`, and bound to the
 * other columns. Deleting a row is final: a trigger keeps its `kid` in `signing_key_removal`.
 */
export const signingKey = tokenLedgerSchema.table('signing_key', {
  kid: text('kid').primaryKey(),
  /** Written for versions before 0016 and never read: the public half is derived from the private one. */
  publicJwk: jsonb('public_jwk').$type<Record<string, string>>().notNull(),
  sealedPrivateKey: bytea('sealed_private_key').notNull(),
  createdAt: instant('created_at').notNull(),
  /** The key is published before this instant, and signs from it until the next key does. */
  signsFrom: instant('signs_from').notNull(),
})

/** Keys that were deleted, append-only. A row of `signing_key` that comes back with such a `kid` is not used. */
export const signingKeyRemoval = tokenLedgerSchema.table('signing_key_removal', {
  kid: text('kid').primaryKey(),
  removedAt: instant('removed_at')
    .notNull()
    .default(sql`token_ledger.clock()`),
})

/**
 * The lives of this database: one row from its first start, and one more for each `ledger restored`. The newest row
 * is the current one, and the id of the first identifies the ledger, in all its copies.
 */
export const incarnation = tokenLedgerSchema.table('incarnation', {
  incarnationId: uuid('incarnation_id').primaryKey().defaultRandom(),
  beganAt: instant('began_at')
    .notNull()
    .default(sql`token_ledger.clock()`),
  /** Of `ledger restored --at T`: T. Null for the first row. */
  copyOf: instant('copy_of'),
  /** Set when a process notices that the database is a restored copy: the newest `process_mark` of that copy. */
  noticedCopyOf: instant('noticed_copy_of'),
})

/**
 * When each process last saw this database. A process also remembers its own row elsewhere: where the row is
 * missing, or older than it remembers, the database is a restored copy.
 */
export const processMark = tokenLedgerSchema.table('process_mark', {
  markId: uuid('mark_id').primaryKey().defaultRandom(),
  seenAt: instant('seen_at')
    .notNull()
    .default(sql`token_ledger.clock()`),
  /** Null in rows of versions before 0028, as are the next two. */
  startedAt: instant('started_at'),
  version: text('version'),
  /** How far the process was behind the ends of sessions. */
  lagMs: integer('lag_ms'),
})

/**
 * The events of each hour, counted once: a chart of months reads hours instead of events. Hours are counted in order and
 * without gaps, also those without events, the newest one in parts. Later events are counted when asked.
 */
export const eventHour = tokenLedgerSchema.table('event_hour', {
  hourAt: instant('hour_at').primaryKey(),
  issued: integer('issued').notNull(),
  rotated: integer('rotated').notNull(),
  replayed: integer('replayed').notNull(),
  reuseDetected: integer('reuse_detected').notNull(),
  revoked: integer('revoked').notNull(),
  /** Its events before this are counted; the end of the hour except in the newest row. */
  countedTo: instant('counted_to'),
})

/** Counts of the rate limits. `expire` is in epoch milliseconds of the database's clock. */
export const rateLimit = tokenLedgerSchema.table(
  'rate_limit',
  {
    key: varchar('key', { length: 255 }).primaryKey(),
    points: integer('points').notNull().default(0),
    expire: bigint('expire', { mode: 'number' }),
  },
  (table) => [index('rate_limit_expire').on(table.expire)],
)

/** Work that only one process does at a time: a row each, which it locks. */
export const turn = tokenLedgerSchema.table('turn', {
  name: text('name').primaryKey(),
})

/** What people, tools and the service itself read: views, documented in docs/reference/sql.md. */
const tokenAuditSchema = pgSchema('token_audit')

/** `token_audit.sessions`: one row per session, as it is now. */
export const auditSessions = tokenAuditSchema
  .view('sessions', {
    familyId: uuid('family_id').notNull(),
    userId: uuid('user_id').notNull(),
    email: text('email'),
    status: text('status').$type<SessionStatus>().notNull(),
    transport: text('transport').$type<Transport>().notNull(),
    deviceName: text('device_name'),
    createdAt: instant('created_at').notNull(),
    lastRotatedAt: instant('last_rotated_at'),
    rotations: integer('rotations').notNull(),
    expiresAt: instant('expires_at').notNull(),
    absoluteExpiresAt: instant('absolute_expires_at').notNull(),
    endedAt: instant('ended_at'),
    endReason: text('end_reason').$type<EndReason>(),
    incidentId: text('incident_id'),
    ip: inet('ip'),
    userAgent: text('user_agent'),
    methods: text('methods').array().$type<readonly string[]>(),
    authenticatedAt: instant('authenticated_at'),
    subject: text('subject').notNull(),
  })
  .existing()

/** `token_audit.events`: one row per event, without token hashes and salts. */
export const auditEvents = tokenAuditSchema
  .view('events', {
    familyId: uuid('family_id').notNull(),
    seq: integer('seq').notNull(),
    kind: text('kind').$type<EventKind>().notNull(),
    generation: integer('generation').notNull(),
    userId: uuid('user_id').notNull(),
    email: text('email'),
    occurredAt: instant('occurred_at').notNull(),
    expiresAt: instant('expires_at'),
    reason: text('reason').$type<ReplayReason | RevocationReason>(),
    actorUserId: uuid('actor_user_id'),
    ip: inet('ip'),
    userAgent: text('user_agent'),
    hash: bytea('hash').notNull(),
    prevHash: bytea('prev_hash'),
    methods: text('methods').array().$type<readonly string[]>(),
    authenticatedAt: instant('authenticated_at'),
    subject: text('subject').notNull(),
    actorSubject: text('actor_subject'),
  })
  .existing()

/** A row of `token_audit.sessions`. */
export type AuditSession = typeof auditSessions.$inferSelect

/** A row of `token_audit.events`. */
export type AuditEvent = typeof auditEvents.$inferSelect

/** The log: one leaf per event and one per admin action, numbered without gaps. Append-only. */
export const logLeaf = tokenLedgerSchema.table(
  'log_leaf',
  {
    leafIndex: bigint('leaf_index', { mode: 'number' }).primaryKey(),
    /** The event; both null for an admin action. */
    familyId: uuid('family_id'),
    seq: integer('seq'),
    actionId: bigint('action_id', { mode: 'number' }),
    /** Where the log goes on: that of the event or the action. */
    txid: xid8('txid').notNull(),
    /** The hash of the event or the action. */
    hash: bytea('hash').notNull(),
  },
  (t) => [
    uniqueIndex('log_leaf_of_event')
      .on(t.familyId, t.seq)
      .where(sql`${t.familyId} is not null`),
    uniqueIndex('log_leaf_of_action')
      .on(t.actionId)
      .where(sql`${t.actionId} is not null`),
    check(
      'log_leaf_shape',
      sql`length(${t.hash}) = 32 and num_nonnulls(${t.familyId}, ${t.seq}) = case when ${t.actionId} is null then 2 else 0 end`,
    ),
  ],
)

/** Hashes of the Merkle tree over the leaves: of each 256, each 65,536 and so on. Append-only. */
export const logNode = tokenLedgerSchema.table(
  'log_node',
  {
    /** A node of level n stands for 256^n leaves. */
    level: smallint('level').notNull(),
    nodeIndex: bigint('node_index', { mode: 'number' }).notNull(),
    hash: bytea('hash').notNull(),
  },
  (t) => [primaryKey({ columns: [t.level, t.nodeIndex] })],
)

/** Checkpoints that were signed. Append-only. */
export const logCheckpoint = tokenLedgerSchema.table(
  'log_checkpoint',
  {
    checkpointId: uuid('checkpoint_id').primaryKey().defaultRandom(),
    size: bigint('size', { mode: 'number' }).notNull(),
    root: bytea('root').notNull(),
    /** The checkpoint as it is published: a signed note. */
    note: text('note').notNull(),
    signedAt: instant('signed_at')
      .notNull()
      .default(sql`token_ledger.clock()`),
  },
  (t) => [index('log_checkpoint_by_size').on(t.size, t.signedAt, t.checkpointId)],
)

/** The Ed25519 key of the log. It is made once. */
export const logKey = tokenLedgerSchema.table('log_key', {
  kid: text('kid').primaryKey(),
  sealedPrivateKey: bytea('sealed_private_key').notNull(),
  createdAt: instant('created_at').notNull(),
})
