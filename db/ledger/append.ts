import type postgres from 'postgres'
import type { LedgerEvent, Replayed, Rotated, Transport } from '../../server/ledger/events.ts'
import type { Transaction } from '../connection/transaction.ts'
import { instantParam } from '../instant.ts'
import { notifyFamilyEnds } from './ends.ts'
import { type Append, toEventColumns } from './event-rows.ts'

/*
 * The ledger's write path, in the events of `server/ledger`. Each write of a transaction with several
 * statements names the id of the transaction that took the lock, and the number of rows written is checked.
 */

export type NewFamily = {
  readonly familyId: string
  readonly userId: string
  readonly transport: Transport
  readonly deviceName: string | null
  readonly createdAt: number
  readonly absoluteExpiresAt: number
}

/**
 * Appends one event each to families whose history still ends right before it, under their locks, in one
 * statement: it is all there or nothing of it, whatever becomes of the connection. None of them is an end,
 * of which other processes would have to be told.
 *
 * @returns the families that were appended to. The others were locked by somebody else, or had gone on:
 * read them again, decide again
 */
export async function appendUnlessChanged(
  sql: postgres.Sql,
  appends: readonly Append<Rotated | Replayed>[],
): Promise<ReadonlySet<string>> {
  if (appends.length === 0) return new Set()
  const rows = await sql<{ family_id: string }[]>`
    select family_id
    from token_ledger.append_unless_changed(
      ${appends.map(({ familyId }) => familyId)}::uuid[], ${JSON.stringify(appends.map(toEventColumns))}::json
    ) as family_id`
  return new Set(rows.map((row) => row.family_id))
}

/**
 * Appends one event each to families that `txid` has locked; of ends, every process is told when the
 * transaction commits.
 *
 * @throws {Error} when not every row was written: the transaction is not the one that locked
 */
export async function appendEvents(
  tx: Transaction,
  txid: string,
  appends: readonly Append[],
): Promise<void> {
  if (appends.length === 0) return
  const endedAt = appends.flatMap(({ event }) => (isEnd(event) ? [event.at] : []))
  if (endedAt.length > 0) await notifyFamilyEnds(tx, Math.min(...endedAt))
  const written = await tx`
    insert into token_ledger.token_event (
      family_id, seq, kind, generation, occurred_at, expires_at, absolute_expires_at, user_id, transport,
      token_hash, salt, attempt_hash, presented_generation, reason, actor_user_id, ip, user_agent, origin_salt)
    select
      family_id, seq, kind, generation, occurred_at, expires_at, absolute_expires_at, user_id, transport,
      token_hash, salt, attempt_hash, presented_generation, reason, actor_user_id, ip, user_agent, origin_salt
    from jsonb_to_recordset(${JSON.stringify(appends.map(toEventColumns))}::jsonb) as e(
      family_id uuid, seq integer, kind text, generation integer, occurred_at timestamptz,
      expires_at timestamptz, absolute_expires_at timestamptz, user_id uuid, transport text,
      token_hash bytea, salt bytea, attempt_hash bytea, presented_generation integer, reason text,
      actor_user_id uuid, ip inet, user_agent text, origin_salt bytea)
    where pg_current_xact_id()::text = ${txid}`
  fence(written.count, appends.length)
}

function isEnd({ kind }: LedgerEvent): boolean {
  return kind === 'revoked' || kind === 'reuse_detected'
}

/** Writes the row of a new family; its `issued` event is appended in the same transaction. */
export async function insertFamily(
  tx: Transaction,
  txid: string,
  family: NewFamily,
): Promise<void> {
  const written = await tx`
    insert into token_ledger.token_family
      (family_id, user_id, transport, device_name, created_at, absolute_expires_at)
    select
      ${family.familyId}::uuid, ${family.userId}::uuid, ${family.transport}, ${family.deviceName},
      ${instantParam(family.createdAt)}::timestamptz, ${instantParam(family.absoluteExpiresAt)}::timestamptz
    where pg_current_xact_id()::text = ${txid}`
  fence(written.count, 1)
}

export function fence(written: number, expected: number): void {
  if (written !== expected)
    throw new Error(`${written} of ${expected} rows written: not in the transaction that locked`)
}
