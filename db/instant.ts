import type postgres from 'postgres'
import type { Transaction } from './connection/transaction.ts'

/** Epoch milliseconds as ISO text, which is how a statement gets a timestamptz. */
export function instantParam(atMs: number): string
export function instantParam(atMs: number | null): string | null
export function instantParam(atMs: number | null): string | null {
  return atMs === null ? null : new Date(atMs).toISOString()
}

/**
 * SQL that converts a timestamptz to whole epoch milliseconds, or an interval to milliseconds.
 *
 * @param expression SQL text of this source, never input: `e.occurred_at`, `token_ledger.clock()`
 */
export function epochMsText(expression: string): string {
  // `extract` computes in numeric, which takes several times as long. Rounded, all years to 9999 are exact.
  return `round(date_part('epoch', ${expression}) * 1000)`
}

/** `epochMsText` as a part of a statement. Each part costs a few microseconds: the hot path joins the text. */
export function epochMs(sql: postgres.Sql | Transaction, expression: string) {
  return sql.unsafe(epochMsText(expression))
}
