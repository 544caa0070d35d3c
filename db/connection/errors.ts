import { DrizzleQueryError } from 'drizzle-orm'
import postgres from 'postgres'
import { MutexTimeout } from './keyed-mutex.ts'

/** What the system (ENOENT), Postgres (42P01) or the driver calls it; empty when it has no such name. */
export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}

/** Serialization failure, deadlock, and a key that another writer took first: decide again. */
const retryable = new Set(['40001', '40P01', '23505'])

/** Whether `error` says that the user is the last admin, who stays (SQLSTATE TL003). */
export function isLastAdmin(error: unknown): boolean {
  return error instanceof postgres.PostgresError && error.code === 'TL003'
}

/** Whether `error` says that the database could not be asked, rather than that it said no. */
export function isUnavailable(error: unknown): boolean {
  const cause = driverError(error)
  const code = codeOf(cause)
  return (
    isDisconnect(cause) ||
    cause instanceof MutexTimeout ||
    // connection exception, not let in, no such database, insufficient resources, operator intervention
    /^(08|28|3D|53|57)/.test(code) ||
    // a database that takes nobody in, lock not available, idle for too long in a transaction
    ['55000', '55P03', '25P03'].includes(code)
  )
}

/** The driver's error, which says what is wrong; drizzle's own around it tells the statement and its parameters. */
export function driverError(error: unknown): unknown {
  return error instanceof DrizzleQueryError && error.cause !== undefined ? error.cause : error
}

export function isDisconnect(error: unknown): boolean {
  // The driver's own, the socket's (ECONNRESET, ENOENT …), the resolver's, and those of TLS and its certificates.
  const code = codeOf(error)
  return /^(CONNECT(ION)?_|E[A-Z]+$|EAI_|ERR_(SSL|TLS|STREAM|SOCKET)_)|CERT|^UNABLE_TO_/.test(code)
}

export function isRetryable(error: unknown): boolean {
  return error instanceof postgres.PostgresError && retryable.has(error.code)
}
