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
  uuid,
  varchar,
} from 'drizzle-orm/pg-core'

/** Everything of ours. People and tools query the views of schema `token_audit` instead. */
export const tokenLedger = pgSchema('token_ledger')

const bytea = customType<{ data: Buffer }>({ dataType: () => 'bytea' })
const xid8 = customType<{ data: string }>({ dataType: () => 'xid8' })
const instant = (name: string) => timestamp(name, { withTimezone: true })

/**
 * One row a token family (a session), written once. It is the row that is locked.
 *
 * Partitioned by month of `family_id` (a UUIDv7), so that closed months can be taken out whole.
 * Nothing here says whether the session is valid: that is folded from its events.
 */
export const tokenFamily = tokenLedger.table(
  'token_family',
  {
    familyId: uuid('family_id').primaryKey(),
    userId: uuid('user_id').notNull(),
    transport: text('transport', { enum: ['cookie', 'body'] }).notNull(),
    /** Chosen by the user; erasable. */
    deviceName: text('device_name'),
    createdAt: instant('created_at').notNull(),
    absoluteExpiresAt: instant('absolute_expires_at').notNull(),
    /** `for update` asks for the right to update something: this, and it never changes. */
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
 * The ledger: one row an event, one stream a family, append-only, chained by hash.
 *
 * Written by `db/ledger/append.ts` alone. Triggers compute `hash` and `prev_hash` and refuse an illegal
 * history, an update, a delete and a truncate. Instants are whole milliseconds.
 */
export const tokenEvent = tokenLedger.table(
  'token_event',
  {
    familyId: uuid('family_id').notNull(),
    /** From 1, without gaps, in each family. */
    seq: integer('seq').notNull(),
    kind: text('kind', {
      enum: ['issued', 'rotated', 'replayed', 'reuse_detected', 'revoked'],
    }).notNull(),
    /** The family's current generation once this event has happened. */
    generation: integer('generation').notNull(),
    occurredAt: instant('occurred_at').notNull(),
    /** `issued`, `rotated`: when the token made by this event expires if it is not used. */
    expiresAt: instant('expires_at'),
    /** `issued`, `rotated`: when the family ends however active it is; one value in a family. */
    absoluteExpiresAt: instant('absolute_expires_at'),
    /** `issued`: who signed in, and how the token travels. */
    userId: uuid('user_id'),
    transport: text('transport', { enum: ['cookie', 'body'] }),
    /** `issued`, `rotated`: SHA-256 of the secret of the token made by this event. */
    tokenHash: bytea('token_hash'),
    /** `rotated`: what the successor was derived with; useless without its predecessor. */
    salt: bytea('salt'),
    /** `rotated`, `replayed`: SHA-256 of the caller's `attemptId`, when it sent one. */
    attemptHash: bytea('attempt_hash'),
    /** `replayed`, `reuse_detected`: the generation of the spent token that was presented. */
    presentedGeneration: integer('presented_generation'),
    /** `replayed`, `revoked`: why. */
    reason: text('reason'),
    /** `revoked`: whose act it was; null when it was the service's own. */
    actorUserId: uuid('actor_user_id'),
    /** Personal data, erasable with its salt; the chain covers `origin_hash` alone. */
    ip: inet('ip'),
    userAgent: text('user_agent'),
    originSalt: bytea('origin_salt'),
    /** SHA-256(origin_salt ‖ ip ‖ user_agent), length-prefixed; computed by the insert trigger. */
    originHash: bytea('origin_hash').notNull(),
    prevHash: bytea('prev_hash'),
    hash: bytea('hash').notNull(),
    /** The transaction that wrote it: readers that follow the ledger order by it. */
    txid: xid8('txid')
      .notNull()
      .default(sql`pg_current_xact_id()`),
  },
  (t) => [
    primaryKey({ columns: [t.familyId, t.seq] }),
    index('token_event_by_txid').on(t.txid, t.familyId, t.seq),
    // Pages of a period: rows arrive in the order of time, so a few bytes a megabyte will do.
    index('token_event_by_time').using('brin', t.occurredAt).with({ autosummarize: true }),
    index('token_event_reuse')
      .on(t.occurredAt, t.familyId)
      .where(sql`${t.kind} = 'reuse_detected'`),
    // What every process follows (db/ledger/ends.ts): few, and no refresh is among them.
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
      // `is true`: a check that comes to null would pass.
      sql`(case ${t.kind}
        when 'issued' then ${t.generation} = 0
          and num_nonnulls(${t.expiresAt}, ${t.userId}, ${t.absoluteExpiresAt}, ${t.transport}, ${t.tokenHash}) = 5
          and num_nonnulls(${t.salt}, ${t.attemptHash}, ${t.presentedGeneration}, ${t.reason}, ${t.actorUserId}) = 0
        when 'rotated' then ${t.generation} >= 1
          and num_nonnulls(${t.expiresAt}, ${t.absoluteExpiresAt}, ${t.tokenHash}, ${t.salt}) = 4
          and num_nonnulls(${t.userId}, ${t.transport}, ${t.presentedGeneration}, ${t.reason}, ${t.actorUserId}) = 0
        when 'replayed' then ${t.presentedGeneration} = ${t.generation} - 1
          and ${t.reason} in ('same_attempt', 'grace_window')
          and num_nonnulls(${t.expiresAt}, ${t.userId}, ${t.absoluteExpiresAt}, ${t.transport}, ${t.tokenHash}, ${t.salt}, ${t.actorUserId}) = 0
        when 'reuse_detected' then ${t.presentedGeneration} between 0 and ${t.generation} - 1
          and num_nonnulls(${t.expiresAt}, ${t.userId}, ${t.absoluteExpiresAt}, ${t.transport}, ${t.tokenHash}, ${t.salt}, ${t.attemptHash}, ${t.reason}, ${t.actorUserId}) = 0
        when 'revoked' then ${t.reason} in ('logout', 'logout_everywhere', 'user_revoked', 'admin_revoked', 'password_changed', 'user_disabled', 'reuse_elsewhere', 'session_limit')
          and num_nonnulls(${t.expiresAt}, ${t.userId}, ${t.absoluteExpiresAt}, ${t.transport}, ${t.tokenHash}, ${t.salt}, ${t.attemptHash}, ${t.presentedGeneration}) = 0
        else false
      end) is true`,
    ),
    check(
      'token_event_sizes',
      sql`length(${t.tokenHash}) = 32 and length(${t.salt}) = 16 and length(${t.attemptHash}) = 32
        and length(${t.originHash}) = 32 and length(${t.originSalt}) = 16 and length(${t.hash}) = 32
        and length(${t.prevHash}) = 32 and length(${t.userAgent}) <= 512`,
    ),
  ],
)

/**
 * One row a user who ever signed in: the row that a sign-in and "end everything" take turns on.
 *
 * A sign-in reads `epoch` before it checks the password and again when it writes: in between,
 * nobody ended everything.
 */
export const userEpoch = tokenLedger.table('user_epoch', {
  userId: uuid('user_id').primaryKey(),
  epoch: integer('epoch').notNull().default(0),
})

/** Our own user directory. A team may bring its own instead: nothing of the ledger refers to it. */
export const userAccount = tokenLedger.table(
  'user_account',
  {
    userId: uuid('user_id').primaryKey(),
    /** Canonical: see `server/users/email.ts`. Null once the person was erased. */
    email: text('email').unique('user_account_email_taken'),
    /** A PHC string, argon2id. */
    passwordHash: text('password_hash').notNull(),
    role: text('role', { enum: ['user', 'admin'] }).notNull(),
    disabledAt: instant('disabled_at'),
    createdAt: instant('created_at')
      .notNull()
      .default(sql`token_ledger.clock()`),
  },
  (t) => [
    check('user_account_role_known', sql`${t.role} in ('user', 'admin')`),
    check('user_account_email_length', sql`length(${t.email}) between 3 and 254`),
  ],
)

/**
 * What admins did, and the command line in their stead; append-only. A session they ended is in the
 * ledger besides, with its actor: here is the reason they gave.
 */
export const adminAction = tokenLedger.table(
  'admin_action',
  {
    actionId: bigint('action_id', { mode: 'number' }).primaryKey().generatedAlwaysAsIdentity(),
    occurredAt: instant('occurred_at')
      .notNull()
      .default(sql`token_ledger.clock()`),
    /** Null for the command line. */
    actorUserId: uuid('actor_user_id'),
    action: text('action', {
      enum: [
        'user_created',
        'role_set',
        'user_disabled',
        'user_enabled',
        'user_erased',
        'session_revoked',
        'sessions_revoked',
        'ledger_archived',
      ],
    }).notNull(),
    targetUserId: uuid('target_user_id'),
    familyId: uuid('family_id'),
    /** `user_created`, `role_set`: the role the user has from here on. */
    role: text('role', { enum: ['user', 'admin'] }),
    /** In the admin's words. No place for personal data: it cannot be erased. */
    reason: text('reason'),
  },
  (t) => [
    index('admin_action_by_target').on(t.targetUserId, t.actionId),
    index('admin_action_by_family').on(t.familyId),
    check(
      'admin_action_known',
      sql`${t.action} in ('user_created', 'role_set', 'user_disabled', 'user_enabled', 'user_erased', 'session_revoked', 'sessions_revoked', 'ledger_archived')`,
    ),
    check('admin_action_reason_short', sql`length(${t.reason}) <= 500`),
  ],
)

/** Keys that sign access tokens. The private half is sealed with a key derived from `AUTH_SECRET`. */
export const signingKey = tokenLedger.table('signing_key', {
  kid: text('kid').primaryKey(),
  publicJwk: jsonb('public_jwk').$type<Record<string, string>>().notNull(),
  sealedPrivateKey: bytea('sealed_private_key').notNull(),
  createdAt: instant('created_at').notNull(),
  /** Published from the start, used from here on, until the next key's turn. */
  signsFrom: instant('signs_from').notNull(),
})

/** Counts of calls, by `rate-limiter-flexible`: its columns, its names. */
export const rateLimit = tokenLedger.table('rate_limit', {
  key: varchar('key', { length: 255 }).primaryKey(),
  points: integer('points').notNull().default(0),
  expire: bigint('expire', { mode: 'number' }),
})

/** Work that only one process does at a time: a row each, which it locks. */
export const turn = tokenLedger.table('turn', {
  name: text('name').primaryKey(),
})

/** What people, tools and the service itself read: views, documented in the README. */
const tokenAudit = pgSchema('token_audit')

/** `token_audit.sessions`: a row a session, as it is now. */
export const auditSessions = tokenAudit
  .view('sessions', {
    familyId: uuid('family_id').notNull(),
    userId: uuid('user_id').notNull(),
    email: text('email'),
    status: text('status', { enum: ['active', 'expired', 'revoked', 'reuse_detected'] }).notNull(),
    transport: text('transport', { enum: ['cookie', 'body'] }).notNull(),
    deviceName: text('device_name'),
    createdAt: instant('created_at').notNull(),
    lastRotatedAt: instant('last_rotated_at'),
    rotations: integer('rotations').notNull(),
    expiresAt: instant('expires_at').notNull(),
    absoluteExpiresAt: instant('absolute_expires_at').notNull(),
    endedAt: instant('ended_at'),
    endReason: text('end_reason'),
    incidentId: text('incident_id'),
    ip: inet('ip'),
    userAgent: text('user_agent'),
  })
  .existing()

/** `token_audit.events`: a row an event, without token hashes and salts. */
export const auditEvents = tokenAudit
  .view('events', {
    familyId: uuid('family_id').notNull(),
    seq: integer('seq').notNull(),
    kind: text('kind', {
      enum: ['issued', 'rotated', 'replayed', 'reuse_detected', 'revoked'],
    }).notNull(),
    generation: integer('generation').notNull(),
    userId: uuid('user_id').notNull(),
    email: text('email'),
    occurredAt: instant('occurred_at').notNull(),
    expiresAt: instant('expires_at'),
    reason: text('reason'),
    actorUserId: uuid('actor_user_id'),
    ip: inet('ip'),
    userAgent: text('user_agent'),
    hash: bytea('hash').notNull(),
    prevHash: bytea('prev_hash'),
  })
  .existing()

/** A row of `token_audit.sessions`. */
export type AuditSession = typeof auditSessions.$inferSelect

/** A row of `token_audit.events`. */
export type AuditEvent = typeof auditEvents.$inferSelect
