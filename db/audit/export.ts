import type postgres from 'postgres'
import type { EventRecord, FamilyRecord } from '../../server/ledger/record.ts'
import { instantParam } from '../instant.ts'
import type { LedgerEventRow } from '../ledger/event-rows.ts'

/** Families by when they began, epoch milliseconds; null is open. */
export type Period = { readonly fromAt: number | null; readonly toAt: number | null }

export type Found = { readonly families: number; readonly events: number }

/** Families a statement goes through: seconds at the most, so that somebody can be told how far it is. */
const familiesAtOnce = 2_000

export const lowestId = '00000000-0000-0000-0000-000000000000'

export const highestId = 'ffffffff-ffff-ffff-ffff-ffffffffffff'

/**
 * Reads families and their events as they were at one moment, in the order of their ids: each family
 * before its events. Also what has lost the other half.
 */
export async function readLedger(
  sql: postgres.Sql,
  period: Period,
  take: (record: FamilyRecord | EventRecord) => Promise<void> | void,
): Promise<Found> {
  return atOneMoment(sql, (tx) => readRecords(tx, period, take))
}

/** As `readLedger`, within a transaction that has its moment already. */
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
        family_id, user_id, transport, device_name,
        (extract(epoch from created_at) * 1000)::float8 as created_at,
        (extract(epoch from absolute_expires_at) * 1000)::float8 as absolute_expires_at
      from token_ledger.token_family
      where family_id between ${first}::uuid and ${last}::uuid
      order by family_id`
    const waiting = families.map(toFamilyRecord)
    const takeFamilies = async (upTo: string) => {
      for (let next = waiting[0]; next && next.familyId <= upTo; next = waiting[0]) {
        waiting.shift()
        found.families += 1
        await take(next)
      }
    }
    const events = tx<ExportedEventRow[]>`
      select
        family_id, seq, kind, generation,
        (extract(epoch from occurred_at) * 1000)::float8 as occurred_at,
        (extract(epoch from expires_at) * 1000)::float8 as expires_at,
        (extract(epoch from absolute_expires_at) * 1000)::float8 as absolute_expires_at,
        user_id, transport, token_hash, salt, attempt_hash, presented_generation, reason, actor_user_id,
        host(ip) as ip, user_agent, origin_salt, origin_hash, prev_hash, hash, txid::text as txid
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

/** Without the time limits of a server: a ledger may take minutes to read. */
export async function atOneMoment<T>(
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

/** Ranges that cover all ids from `first` to `last`, each with at most so many families. */
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
      offset ${familiesAtOnce}
      limit 1`
    if (end === undefined) break
    yield { first: next, last: before(end.family_id) }
    next = end.family_id
  }
  yield { first: next, last }
}

/** The id just below. */
function before(id: string): string {
  const hex = (BigInt(`0x${id.replaceAll('-', '')}`) - 1n).toString(16).padStart(32, '0')
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

type ExportedFamilyRow = {
  family_id: string
  user_id: string
  transport: string
  device_name: string | null
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
  }
}

function hex(value: Buffer): string

function hex(value: Buffer | null): string | null

function hex(value: Buffer | null): string | null {
  return value === null ? null : value.toString('hex')
}
