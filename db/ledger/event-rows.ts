import type { LedgerEvent } from '../../server/ledger/events.ts'
import { instantParam } from '../instant.ts'

/** Where a request came from: personal data, kept erasable. */
export type Caller = { readonly ip: string | null; readonly userAgent: string | null }

export type Append<Event extends LedgerEvent = LedgerEvent> = {
  readonly familyId: string
  readonly event: Event
  readonly caller: Caller
  /** 16 random bytes; they make the hash of the origin unguessable. */
  readonly callerSalt: Buffer
}

/** What an event is made of; instants as epoch milliseconds. */
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
}

/** The CHECKs of the table say which columns each kind has: this is where they become a type. */
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
  } as LedgerEvent
}

/** As `jsonb_to_recordset` reads it; a column that is missing is null. */
export function toEventColumns({ familyId, event, caller, callerSalt }: Append) {
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

function columnsOf(event: LedgerEvent) {
  switch (event.kind) {
    case 'issued':
      return {
        expires_at: instantParam(event.expiresAt),
        absolute_expires_at: instantParam(event.absoluteExpiresAt),
        user_id: event.userId,
        transport: event.transport,
        token_hash: bytes(event.tokenHash),
      }
    case 'rotated':
      return {
        expires_at: instantParam(event.expiresAt),
        absolute_expires_at: instantParam(event.absoluteExpiresAt),
        token_hash: bytes(event.tokenHash),
        salt: bytes(event.salt),
        attempt_hash: event.attemptHash && bytes(event.attemptHash),
      }
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

/** As Postgres reads a bytea. */
function bytes(value: Uint8Array): string {
  return `\\x${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')}`
}
