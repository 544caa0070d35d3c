import type postgres from 'postgres'
import type { EventRecord, FamilyRecord } from '../../server/ledger/record.ts'
import { epochMs, instantParam } from '../instant.ts'
import type { LedgerEventRow } from '../ledger/event-rows.ts'
import { methodsOf } from '../methods.ts'
import { uuidOf } from '../uuid.ts'
import { nilUuid } from '../uuid.ts'

/** Families that began in this period, epoch milliseconds; null leaves it open. `toAt` is not included. */
export type Period = { readonly fromAt: number | null; readonly toAt: number | null }

export type Found = { readonly families: number; readonly events: number }

/** Families read by one statement: few enough to take seconds, so that callers can report progress. */
const familiesPerPiece = 2_000

export const lowestId = nilUuid

export const highestId = 'ffffffff-ffff-ffff-ffff-ffffffffffff'

/**
 * Reads families and their events from one snapshot, in the order of their ids: each family before its events.
 * A family without events and events without a family are read as well.
 *
 * @param sql a pool; the read holds one of its connections, in a read-only transaction
 * @param take called with each record and awaited, so a slow reader does not fill the memory
 */
export async function readLedger(
  sql: postgres.Sql,
  period: Period,
  take: (record: FamilyRecord | EventRecord) => Promise<void> | void,
): Promise<Found> {
  return inSnapshot(sql, (tx) => readRecords(tx, period, take))
}

/** Like `readLedger`, in the caller's transaction. */
export async function readRecords(
  tx: postgres.TransactionSql,
  period: Period,
  take: (record: FamilyRecord | EventRecord) => Promise<void> | void,
): Promise<Found> {
  const [bounds] = await tx<{ first: string; last: string }[]>`
    select
      coalesce(token_ledger.first_family_id(${instantParam(period.fromAt)}::timestamptz), ${lowestId}) as first,
      coalesce(token_ledger.last_family_id_before(${instantParam(period.toAt)}::timestamptz), ${highestId}) as last`
  const found = { families: 0, events: 0 }
  if (bounds === undefined) return found
  for await (const { first, last } of pieces(tx, bounds.first, bounds.last)) {
    const families = await tx<ExportedFamilyRow[]>`
      select
        f.family_id, f.user_id, f.transport, f.device_name, s.subject,
        ${epochMs(tx, 'f.created_at')} as created_at,
        ${epochMs(tx, 'f.absolute_expires_at')} as absolute_expires_at
      from token_ledger.token_family f
      left join token_ledger.user_subject s using (user_id)
      where family_id between ${first}::uuid and ${last}::uuid
      order by family_id`
    const unread = families.map(toFamilyRecord)
    const takeFamilies = async (upTo: string) => {
      for (let next = unread[0]; next && next.familyId <= upTo; next = unread[0]) {
        unread.shift()
        found.families += 1
        await take(next)
      }
    }
    const events = tx<ExportedEventRow[]>`
      select
        family_id, seq, kind, generation,
        ${epochMs(tx, 'occurred_at')} as occurred_at,
        ${epochMs(tx, 'expires_at')} as expires_at,
        ${epochMs(tx, 'absolute_expires_at')} as absolute_expires_at,
        user_id, transport, token_hash, salt, attempt_hash, presented_generation, reason, actor_user_id,
        host(ip) as ip, user_agent, origin_salt, origin_hash, prev_hash, hash, txid::text as txid,
        array_to_string(methods, ' ') as methods, ${epochMs(tx, 'authenticated_at')} as authenticated_at
      from token_ledger.token_event
      where family_id between ${first}::uuid and ${last}::uuid
      order by family_id, seq`
    for await (const rows of events.cursor(1_000)) {
      for (const row of rows) {
        await takeFamilies(row.family_id)
        found.events += 1
        await take(toEventRecord(row))
      }
    }
    await takeFamilies(last)
  }
  return found
}

/** Runs `work` in a read-only transaction with one snapshot and no time limits: it may read for minutes. */
export async function inSnapshot<T>(
  sql: postgres.Sql,
  work: (tx: postgres.TransactionSql) => Promise<T>,
): Promise<T> {
  const result = await sql.begin('isolation level repeatable read read only', async (tx) => {
    await tx`set local statement_timeout = 0`
    await tx`set local idle_in_transaction_session_timeout = 0`
    return { value: await work(tx) }
  })
  return (result as { value: T }).value
}

/** Ranges of ids that together cover `first` to `last`, each with at most `familiesPerPiece` families. */
export async function* pieces(
  tx: postgres.TransactionSql,
  first: string,
  last: string,
): AsyncGenerator<{ first: string; last: string }> {
  let next = first
  for (;;) {
    const [end] = await tx<{ family_id: string }[]>`
      select family_id
      from token_ledger.token_family
      where family_id between ${next}::uuid and ${last}::uuid
      order by family_id
      offset ${familiesPerPiece}
      limit 1`
    if (end === undefined) break
    yield { first: next, last: before(end.family_id) }
    next = end.family_id
  }
  yield { first: next, last }
}

/** The id just below `id`. */
function before(id: string): string {
  const number = BigInt(`0x${id.replaceAll('-', '')}`) - 1n
  return uuidOf(number.toString(16).padStart(32, '0'))
}

type ExportedFamilyRow = {
  family_id: string
  user_id: string
  transport: string
  device_name: string | null
  subject: string | null
  created_at: number
  absolute_expires_at: number
}

type ExportedEventRow = LedgerEventRow & {
  ip: string | null
  user_agent: string | null
  origin_salt: Buffer | null
  origin_hash: Buffer
  prev_hash: Buffer | null
  hash: Buffer
  txid: string
}

function toFamilyRecord(row: ExportedFamilyRow): FamilyRecord {
  return {
    record: 'family',
    familyId: row.family_id,
    userId: row.user_id,
    transport: row.transport,
    deviceName: row.device_name,
    subject: row.subject,
    createdAt: instantParam(row.created_at),
    absoluteExpiresAt: instantParam(row.absolute_expires_at),
  }
}

function toEventRecord(row: ExportedEventRow): EventRecord {
  return {
    record: 'event',
    familyId: row.family_id,
    seq: row.seq,
    kind: row.kind,
    generation: row.generation,
    occurredAt: instantParam(row.occurred_at),
    expiresAt: instantParam(row.expires_at),
    absoluteExpiresAt: instantParam(row.absolute_expires_at),
    userId: row.user_id,
    transport: row.transport,
    tokenHash: hex(row.token_hash),
    salt: hex(row.salt),
    attemptHash: hex(row.attempt_hash),
    presentedGeneration: row.presented_generation,
    reason: row.reason,
    actorUserId: row.actor_user_id,
    ip: row.ip,
    userAgent: row.user_agent,
    originSalt: hex(row.origin_salt),
    originHash: hex(row.origin_hash),
    prevHash: hex(row.prev_hash),
    hash: hex(row.hash),
    txid: row.txid,
    methods: methodsOf(row.methods),
    authenticatedAt: instantParam(row.authenticated_at),
  }
}

function hex(value: Buffer): string
function hex(value: Buffer | null): string | null
function hex(value: Buffer | null): string | null {
  return value === null ? null : value.toString('hex')
}
