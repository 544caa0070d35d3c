import type postgres from 'postgres'
import type { Transaction } from './connection/transaction.ts'

/** Epoch milliseconds as ISO text, which is how a statement gets a timestamptz. */
export function instantParam(atMs: number): string
export function instantParam(atMs: number | null): string | null
export function instantParam(atMs: number | null): string | null {
  return atMs === null ? null : new Date(atMs).toISOString()
}

/**
 * SQL that converts a timestamptz to epoch milliseconds, or an interval to milliseconds.
 *
 * @param value a column (`e.occurred_at`), or an expression as a fragment of `sql`
 */
export function epochMs(
  sql: postgres.Sql | Transaction,
  value: string | postgres.PendingQuery<postgres.Row[]>,
) {
  return sql`(extract(epoch from ${typeof value === 'string' ? sql(value) : value}) * 1000)::float8`
}
