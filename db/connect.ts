import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js'
import postgres from 'postgres'

/**
 * One database, spoken to in two ways: `db` for single statements built with drizzle, `sql` for the
 * hot path and for transactions. Both give instants as text, so SQL answers epoch milliseconds.
 *
 * Each has connections of its own: a transaction may wait for a statement of `db`, and would wait for
 * ever for a connection that other transactions keep until they get its lock.
 */
export type Database = {
  readonly sql: postgres.Sql
  readonly db: PostgresJsDatabase
  /** The connections of `db`, for what is said better in SQL. */
  readonly statements: postgres.Sql
  close(): Promise<void>
}

export type ConnectOptions = {
  /** The role every connection becomes. The server has no more rights than this one. */
  readonly role?: 'token_ledger_app' | 'token_ledger_auditor'
  readonly maxConnections?: number
}

/** Connects lazily: a database that is away shows at the first statement. */
export function connect(databaseUrl: string, options: ConnectOptions = {}): Database {
  const { role, maxConnections = 10 } = options
  const open = (max: number) =>
    openPool((onclose) =>
      postgres(databaseUrl, {
        max: Math.max(1, max),
        connect_timeout: 3,
        // A connection that closes is one that was lost: see openPool.
        max_lifetime: null,
        onclose,
        onnotice: () => {},
        connection: {
          application_name: 'token-ledger',
          ...(role && { role }),
          // Each statement is planned once a connection: over the partitions, planning it each time
          // costs ten times what running it does, and Postgres by itself does not see that.
          plan_cache_mode: 'force_generic_plan',
          // A statement or a lock that takes longer is answered 503, and a forgotten transaction ends.
          statement_timeout: 10_000,
          lock_timeout: 5_000,
          idle_in_transaction_session_timeout: 10_000,
        },
      }),
    )
  const forStatements = Math.floor(maxConnections / 3)
  const transactions = open(maxConnections - forStatements)
  const statements = open(forStatements)
  return {
    sql: transactions.sql,
    db: drizzle(plannedOnce(statements.sql)),
    statements: statements.sql,
    async close() {
      await Promise.all([transactions.close(), statements.close()])
    },
  }
}

/**
 * For drizzle, which asks for each statement to be planned anew: over the views and their partitions that
 * costs more than running it. What drizzle sends has few shapes, so a connection keeps few plans.
 */
function plannedOnce(sql: postgres.Sql): postgres.Sql {
  const unsafe: postgres.Sql['unsafe'] = (query, parameters, options) =>
    sql.unsafe(query, parameters, { ...options, prepare: true })
  return new Proxy(sql, {
    get: (pool, key) => (key === 'unsafe' ? unsafe : (Reflect.get(pool, key) as unknown)),
  })
}

/** A pool that was left gets this long for what it has begun, and then as long again to stop. */
const farewellMs = 2_500

/**
 * A pool that is left for a new one as soon as it has lost a connection.
 *
 * A connection of postgres.js 3.4 that dies with a statement under way does not forget it: it fails the
 * next statement with the old error, or never sends it, or tries to connect without end.
 */
function openPool(open: (onclose: () => void) => postgres.Sql): {
  sql: postgres.Sql
  close(): Promise<void>
} {
  let current = start()
  let isClosed = false

  function start(): postgres.Sql {
    const pool: postgres.Sql = open(() => {
      if (isClosed || pool !== current) return
      current = start()
      setTimeout(() => void pool.end({ timeout: farewellMs / 1000 }), farewellMs).unref()
    })
    // Sets how this pool reads and writes instants and JSON.
    drizzle(pool)
    return pool
  }

  return {
    sql: new Proxy(current, {
      apply: (_pool, self, args) => Reflect.apply(current, self, args) as unknown,
      get: (_pool, key) => Reflect.get(current, key) as unknown,
    }),
    close() {
      isClosed = true
      return current.end({ timeout: 5 })
    },
  }
}
