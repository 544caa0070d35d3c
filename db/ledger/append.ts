import type postgres from 'postgres'
import type { LedgerEvent, Replayed, Revoked, Rotated } from '../../server/ledger/events.ts'
import type { Transaction } from '../connection/transaction.ts'
import { notifyFamilyEnds } from './ends.ts'
import {
  insertedColumns,
  insertedColumnTypes,
  toEventColumns,
  toWholeColumns,
  type Append,
} from './event-rows.ts'

/*
 * The ledger's write path. In a transaction of several statements, each write names the id of the transaction
 * that took the lock, and the number of rows written is checked: see `inTransaction`.
 */

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

/** As `appendUnlessChanged`, for sign-outs. When it commits, all processes are notified once. */
export async function appendEnds(
  sql: postgres.Sql,
  appends: readonly Append<Revoked>[],
): Promise<ReadonlySet<string>> {
  if (appends.length === 0) return new Set()
  const rows = await sql<{ family_id: string }[]>`
    select family_id
    from token_ledger.append_ends(
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
    from jsonb_to_recordset(${JSON.stringify(appends.map(toWholeColumns))}::jsonb)
      as e(${tx.unsafe(insertedColumnTypes)})
    where pg_current_xact_id()::text = ${txid}`
  fence(written.count, appends.length)
}

function isEnd({ kind }: LedgerEvent): boolean {
  return kind === 'revoked' || kind === 'reuse_detected'
}

/** @throws {Error} when fewer rows were written than expected: the statement ran outside of the transaction */
export function fence(written: number, expected: number): void {
  if (written !== expected)
    throw new Error(`${written} of ${expected} rows written: not in the transaction that locked`)
}
