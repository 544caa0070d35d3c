import type { Sql, TransactionSql } from 'postgres'

/** A row of `token_event` written by hand, past every rule of the code. */
export type HandwrittenEvent = {
  family_id: string
  seq: number
  kind: string
  generation: number
  occurred_at: string
  [column: string]: unknown
}

export const startAt = Date.UTC(2030, 0, 1)
const day = 24 * 3600 * 1000
export const familyId = '01943f5d-7800-7000-8000-000000000001'
const userId = '0190b5d2-0000-4000-8000-000000000001'

export function familyRow(changes: Record<string, unknown> = {}) {
  return {
    family_id: familyId,
    user_id: userId,
    transport: 'cookie',
    created_at: new Date(startAt).toISOString(),
    absolute_expires_at: new Date(startAt + 30 * day).toISOString(),
    ...changes,
  }
}

const made = {
  expires_at: new Date(startAt + 7 * day).toISOString(),
  absolute_expires_at: new Date(startAt + 30 * day).toISOString(),
  token_hash: Buffer.alloc(32, 1),
}

/** What an `issued` may have and a `reauthenticated` must have. */
export const proof = { methods: ['pwd'], authenticated_at: new Date(startAt).toISOString() }

export function issuedRow(changes: Record<string, unknown> = {}): HandwrittenEvent {
  return row('issued', { seq: 1, user_id: userId, transport: 'cookie', ...made }, changes)
}

export function rotatedRow(
  generation: number,
  changes: Record<string, unknown> = {},
): HandwrittenEvent {
  const own = { seq: generation + 1, generation, salt: Buffer.alloc(16), ...made }
  return row('rotated', own, changes)
}

export function reauthenticatedRow(
  generation: number,
  changes: Record<string, unknown> = {},
): HandwrittenEvent {
  return { ...rotatedRow(generation), kind: 'reauthenticated', ...proof, ...changes }
}

export function replayedRow(seq: number, changes: Record<string, unknown> = {}): HandwrittenEvent {
  const own = { seq, generation: 1, presented_generation: 0, reason: 'grace_window' }
  return row('replayed', own, changes)
}

export function reuseRow(seq: number, changes: Record<string, unknown> = {}): HandwrittenEvent {
  return row('reuse_detected', { seq, generation: 1, presented_generation: 0 }, changes)
}

export function revokedRow(seq: number, changes: Record<string, unknown> = {}): HandwrittenEvent {
  return row('revoked', { seq, generation: seq - 2, reason: 'logout' }, changes)
}

function row(kind: string, own: object, changes: object): HandwrittenEvent {
  return {
    family_id: familyId,
    seq: 1,
    kind,
    generation: 0,
    occurred_at: new Date(startAt).toISOString(),
    ip: '192.0.2.1',
    user_agent: 'a browser',
    origin_salt: Buffer.alloc(16, 2),
    ...own,
    ...changes,
  }
}

export async function insertEvents(
  sql: Sql | TransactionSql,
  ...rows: HandwrittenEvent[]
): Promise<void> {
  for (const event of rows) await sql`insert into token_ledger.token_event ${sql(event)}`
}

/** The SQLSTATE of a statement that is refused, or `ok`. */
export async function sqlStateOf(statement: PromiseLike<unknown>): Promise<string> {
  try {
    await statement
    return 'ok'
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : String(error)
  }
}
