import type { Caller } from '../../server/ledger/caller.ts'
import type {
  Authentication,
  LedgerEvent,
  Succession,
  Transport,
} from '../../server/ledger/events.ts'
import { instantParam } from '../instant.ts'
import { methodsOf } from '../methods.ts'

export type { Caller }

/** An event to append to its family. */
export type Append<Event extends LedgerEvent = LedgerEvent> = {
  readonly familyId: string
  readonly event: Event
  readonly caller: Caller
  /** 16 random bytes in the hash of the caller: without them, the hash could be found by guessing. */
  readonly callerSalt: Buffer
}

export type LockedFamily = {
  readonly familyId: string
  readonly userId: string
  readonly transport: Transport
  readonly createdAt: number
}

/** The columns of `token_event` that an event is read from; instants as epoch milliseconds. */
export type LedgerEventRow = {
  family_id: string
  seq: number
  kind: string
  generation: number
  occurred_at: number
  expires_at: number | null
  absolute_expires_at: number | null
  user_id: string | null
  transport: string | null
  token_hash: Buffer | null
  salt: Buffer | null
  attempt_hash: Buffer | null
  presented_generation: number | null
  reason: string | null
  actor_user_id: string | null
  /** For `methodsOf`. */
  methods: string | null
  authenticated_at: number | null
}

/** The cast is safe because a CHECK of the table (`token_event_shape`) says which columns each kind has. */
export function toLedgerEvent(row: LedgerEventRow): LedgerEvent {
  return {
    kind: row.kind,
    seq: row.seq,
    generation: row.generation,
    at: row.occurred_at,
    userId: row.user_id,
    transport: row.transport,
    tokenHash: row.token_hash,
    salt: row.salt,
    attemptHash: row.attempt_hash,
    expiresAt: row.expires_at,
    absoluteExpiresAt: row.absolute_expires_at,
    presentedGeneration: row.presented_generation,
    reason: row.reason,
    actorUserId: row.actor_user_id,
    authentication: toAuthentication(row),
  } as LedgerEvent
}

/** Null when the columns are. */
export function toAuthentication(
  row: Pick<LedgerEventRow, 'methods' | 'authenticated_at'>,
): Authentication | null {
  const { methods, authenticated_at: authenticatedAt } = row
  if (methods === null || authenticatedAt === null) return null
  return { methods: methodsOf(methods), authenticatedAt }
}

/** What is inserted into `token_event`; triggers compute the other columns. */
const insertedTypes = {
  family_id: 'uuid',
  seq: 'integer',
  kind: 'text',
  generation: 'integer',
  occurred_at: 'timestamptz',
  expires_at: 'timestamptz',
  absolute_expires_at: 'timestamptz',
  user_id: 'uuid',
  transport: 'text',
  token_hash: 'bytea',
  salt: 'bytea',
  attempt_hash: 'bytea',
  presented_generation: 'integer',
  reason: 'text',
  actor_user_id: 'uuid',
  ip: 'inet',
  user_agent: 'text',
  origin_salt: 'bytea',
  methods: 'text[]',
  authenticated_at: 'timestamptz',
}

/** `family_id, seq, …`, as SQL. */
export const insertedColumns = Object.keys(insertedTypes).join(', ')

/** `family_id uuid, seq integer, …`, as SQL. */
export const insertedColumnTypes = Object.entries(insertedTypes)
  .map(([name, type]) => `${name} ${type}`)
  .join(', ')

type InsertedColumns = Partial<
  Record<keyof typeof insertedTypes, string | number | readonly string[] | null>
>

/** A row for `jsonb_to_recordset`, for which a missing column is null. */
export function toEventColumns({ familyId, event, caller, callerSalt }: Append): InsertedColumns {
  return {
    family_id: familyId,
    seq: event.seq,
    kind: event.kind,
    generation: event.generation,
    occurred_at: instantParam(event.at),
    ip: caller.ip,
    user_agent: caller.userAgent,
    origin_salt: bytes(callerSalt),
    ...columnsOf(event),
  }
}

/** With the authentication of a rotation, which `append_unless_changed` copies from the token before instead. */
export function toWholeColumns(append: Append): InsertedColumns {
  const { event } = append
  return {
    ...toEventColumns(append),
    ...(event.kind === 'rotated' &&
      event.authentication &&
      authenticationColumns(event.authentication)),
  }
}

function columnsOf(event: LedgerEvent): InsertedColumns {
  switch (event.kind) {
    case 'issued':
      return {
        expires_at: instantParam(event.expiresAt),
        absolute_expires_at: instantParam(event.absoluteExpiresAt),
        user_id: event.userId,
        transport: event.transport,
        token_hash: bytes(event.tokenHash),
        ...(event.authentication && authenticationColumns(event.authentication)),
      }
    case 'rotated':
      // Without the authentication: see `toWholeColumns`.
      return successorColumns(event)
    case 'reauthenticated':
      return { ...successorColumns(event), ...authenticationColumns(event.authentication) }
    case 'replayed':
      return {
        presented_generation: event.presentedGeneration,
        attempt_hash: event.attemptHash && bytes(event.attemptHash),
        reason: event.reason,
      }
    case 'reuse_detected':
      return { presented_generation: event.presentedGeneration }
    case 'revoked':
      return { reason: event.reason, actor_user_id: event.actorUserId }
  }
}

function successorColumns(event: Succession): InsertedColumns {
  return {
    expires_at: instantParam(event.expiresAt),
    absolute_expires_at: instantParam(event.absoluteExpiresAt),
    token_hash: bytes(event.tokenHash),
    salt: bytes(event.salt),
    attempt_hash: event.attemptHash && bytes(event.attemptHash),
  }
}

function authenticationColumns({ methods, authenticatedAt }: Authentication): InsertedColumns {
  return { methods, authenticated_at: instantParam(authenticatedAt) }
}

/** The text form of a bytea (`\\x…`). */
export function bytes(value: Uint8Array): string {
  return `\\x${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')}`
}
