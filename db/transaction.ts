import { DrizzleQueryError } from 'drizzle-orm'
import postgres from 'postgres'

export type Transaction = postgres.TransactionSql

/** A transaction and its id, for writes that must happen in this one or not at all. */
export type FencedTransaction = { readonly tx: Transaction; readonly txid: string }

/** Serialization failure, deadlock, and a key that another writer took first: decide again. */
const retryable = new Set(['40001', '40P01', '23505'])
const maxTries = 3

/**
 * Runs `work` in one transaction and commits it; when it throws, nothing has happened.
 *
 * Two things postgres.js 3.4 does when the backend dies in the middle are kept out here. It would
 * roll back on a socket that is gone, which ends the process: so a work that failed with the
 * connection never settles. And it may run the next statement on a new connection, outside of any
 * transaction: so every write of ours is fenced by the transaction's id (see `db/ledger.ts`).
 */
export async function inTransaction<T>(
  sql: postgres.Sql,
  work: (tx: Transaction) => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return (await sql.begin((tx) => heldWhenDisconnected(work(tx)))) as T
    } catch (error) {
      if (attempt === maxTries || !isRetryable(error)) throw error
    }
  }
}

/** The transaction with its id, for one that takes no lock first. */
export async function fenced(tx: Transaction): Promise<FencedTransaction> {
  const [row] = await tx<{ txid: string }[]>`select pg_current_xact_id()::text as txid`
  if (row === undefined) throw new Error('a transaction without an id')
  return { tx, txid: row.txid }
}

/** Whether `error` says that the user is the last admin, who stays (SQLSTATE TL003). */
export function isLastAdmin(error: unknown): boolean {
  return error instanceof postgres.PostgresError && error.code === 'TL003'
}

/** Whether `error` says that the database could not be asked, rather than that it said no. */
export function isUnavailable(error: unknown): boolean {
  // drizzle's own error carries the driver's.
  if (error instanceof DrizzleQueryError) return isUnavailable(error.cause)
  const code = errorCode(error)
  return (
    isDisconnect(error) ||
    // connection exception, insufficient resources, operator intervention, lock not available
    /^(08|53|57)/.test(code) ||
    code === '55P03' ||
    code === '25P03' ||
    /^E[A-Z]+$/.test(code) // the socket's own: ECONNREFUSED, ENOENT, EPIPE …
  )
}

function heldWhenDisconnected<T>(work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    work.then(resolve, (error: unknown) => {
      if (!isDisconnect(error)) reject(error instanceof Error ? error : new Error(String(error)))
    })
  })
}

function isDisconnect(error: unknown): boolean {
  return /^CONNECT(ION)?_/.test(errorCode(error))
}

function isRetryable(error: unknown): boolean {
  return error instanceof postgres.PostgresError && retryable.has(error.code)
}

function errorCode(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}
