import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js'
import postgres from 'postgres'

/**
 * One pool, spoken to in two ways: `db` for single statements built with drizzle, `sql` for the hot
 * path and for transactions. Both give instants as text, so SQL answers epoch milliseconds.
 */
export type Database = {
  readonly sql: postgres.Sql
  readonly db: PostgresJsDatabase
  close(): Promise<void>
}

export type ConnectOptions = {
  /** The role every connection becomes. The server has no more rights than this one. */
  readonly role?: 'token_ledger_app' | 'token_ledger_auditor'
  readonly maxConnections?: number
}

/** Connects lazily: a database that is away shows at the first statement. */
export function connect(databaseUrl: string, options: ConnectOptions = {}): Database {
  const sql = postgres(databaseUrl, {
    max: options.maxConnections ?? 10,
    connect_timeout: 5,
    onnotice: () => {},
    connection: {
      application_name: 'token-ledger',
      ...(options.role && { role: options.role }),
      // A statement or a lock that takes longer is answered 503, and a forgotten transaction ends.
      statement_timeout: 10_000,
      lock_timeout: 5_000,
      idle_in_transaction_session_timeout: 10_000,
    },
  })
  return { sql, db: drizzle(sql), close: () => sql.end({ timeout: 5 }) }
}
