import type postgres from 'postgres'
import type { LedgerEvent, Replayed, Rotated, Transport } from '../../server/ledger/events.ts'
import type { Transaction } from '../connection/transaction.ts'
import { instantParam } from '../instant.ts'
import { notifyFamilyEnds } from './ends.ts'
import { insertedColumns, insertedColumnTypes, toEventColumns, type Append } from './event-rows.ts'

/*
 * The ledger's write path. In a transaction of several statements, each write names the id of the transaction
 * that took the lock, and the number of rows written is checked: see `inTransaction`.
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
 * Locks the families and appends one event to each whose last event is still the one before it. It is one
 * statement, so it is atomic even if the connection is lost.
 *
 * Takes only `rotated` and `replayed`: events that end a family go through `appendEvents`, which notifies the
 * other processes.
 *
 * @returns the ids of the families appended to. The others were locked by another transaction or have a newer
 * event: read them again and decide again
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
 * Appends events to families that the transaction `txid` has locked. If one of them ends its family, all
 * processes are notified when the transaction commits.
 *
 * @throws {Error} when not all rows were written: `tx` is not the transaction `txid`
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
    insert into token_ledger.token_event (${tx.unsafe(insertedColumns)})
    select ${tx.unsafe(insertedColumns)}
    from jsonb_to_recordset(${JSON.stringify(appends.map(toEventColumns))}::jsonb)
      as e(${tx.unsafe(insertedColumnTypes)})
    where pg_current_xact_id()::text = ${txid}`
  fence(written.count, appends.length)
}

function isEnd({ kind }: LedgerEvent): boolean {
  return kind === 'revoked' || kind === 'reuse_detected'
}

/** Inserts a new family. The caller appends its `issued` event in the same transaction. */
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

/** @throws {Error} when fewer rows were written than expected: the statement ran outside of the transaction */
export function fence(written: number, expected: number): void {
  if (written !== expected)
    throw new Error(`${written} of ${expected} rows written: not in the transaction that locked`)
}
