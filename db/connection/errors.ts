import { DrizzleQueryError } from 'drizzle-orm'
import postgres from 'postgres'
import { PoolFull } from './bounded.ts'
import { MutexTimeout } from './keyed-mutex.ts'

/** The code of the system (ENOENT), of Postgres (42P01) or of the driver; empty without one. */
export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}

/** Serialization failure, deadlock, and a key that another writer inserted first. */
const retryable = new Set(['40001', '40P01', '23505'])

/** Whether the change was refused because it would leave no admin (SQLSTATE TL003). */
export function isLastAdmin(error: unknown): boolean {
  return error instanceof postgres.PostgresError && error.code === 'TL003'
}

/** Of a statement that waited too long for a lock. */
export const lockNotAvailable = '55P03'

/** Whether the server takes no writes: it is a standby, or its database is read-only. */
export function isReadOnly(error: unknown): boolean {
  return codeOf(driverError(error)) === '25006'
}

/** Whether the database could not answer, as opposed to an answer that refuses the statement. */
export function isUnavailable(error: unknown): boolean {
  const cause = driverError(error)
  const code = codeOf(cause)
  return (
    isDisconnect(cause) ||
    cause instanceof MutexTimeout ||
    cause instanceof PoolFull ||
    // connection exception, invalid authorization, unknown database, insufficient resources, operator intervention
    /^(08|28|3D|53|57)/.test(code) ||
    // a database that accepts no connections, idle transaction timeout
    ['55000', lockNotAvailable, '25P03'].includes(code) ||
    // conflicts with other transactions, which the same request may not meet again
    ['40001', '40P01'].includes(code) ||
    isReadOnly(cause)
  )
}

/** The driver's error, without drizzle's around it, whose message holds the statement and its parameters. */
export function driverError(error: unknown): unknown {
  return error instanceof DrizzleQueryError && error.cause !== undefined ? error.cause : error
}

export function isDisconnect(error: unknown): boolean {
  // Codes of the driver, of sockets (ECONNRESET, ENOENT …), of the resolver, and of TLS and its certificates.
  const code = codeOf(error)
  return /^(CONNECT(ION)?_|E[A-Z]+$|EAI_|ERR_(SSL|TLS|STREAM|SOCKET)_)|CERT|^UNABLE_TO_/.test(code)
}

export function isRetryable(error: unknown): boolean {
  return error instanceof postgres.PostgresError && retryable.has(error.code)
}
