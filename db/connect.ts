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
  /**
   * One connection beside the pools that can listen to notifications, for as long as it lasts. `close` of
   * the database leaves it alone.
   */
  openLine(heard: (payload: string) => void): Line
  close(): Promise<void>
}

/**
 * It is never taken up again once lost: what was told in between would be missing, and nobody would know.
 */
export type Line = {
  /**
   * One question at a time. An answer proves that the line still hears.
   *
   * @throws when the connection is lost, or was at any time before, and when there is no answer after
   * `timeoutMs`, which closes the line
   */
  ask<T>(question: (sql: postgres.Sql) => Promise<T>, timeoutMs: number): Promise<T>
  /** Waits for nothing. */
  close(): void
}

export type ConnectOptions = {
  /** The role every connection becomes. The server has no more rights than this one. */
  readonly role?: 'token_ledger_app' | 'token_ledger_auditor'
  readonly maxConnections?: number
}

/** Connects lazily: a database that is away shows at the first statement. */
export function connect(databaseUrl: string, options: ConnectOptions = {}): Database {
  const { role, maxConnections = 10 } = options
  const settings = {
    connect_timeout: 3,
    // A connection that closes is one that was lost: see openPool.
    max_lifetime: null,
    onnotice: () => {},
    connection: {
      application_name: 'token-ledger',
      ...(role && { role }),
      // Each statement is planned once a connection: over the partitions, planning it each time
      // costs ten times what running it does, and Postgres by itself does not see that.
      plan_cache_mode: 'force_generic_plan' as const,
      // A statement or a lock that takes longer is answered 503, and a forgotten transaction ends.
      statement_timeout: 10_000,
      lock_timeout: 5_000,
      idle_in_transaction_session_timeout: 10_000,
    },
  }
  const open = (max: number) =>
    openPool((onclose) => postgres(databaseUrl, { ...settings, max: Math.max(1, max), onclose }))
  const forStatements = Math.floor(maxConnections / 3)
  const transactions = open(maxConnections - forStatements)
  const statements = open(forStatements)
  return {
    sql: transactions.sql,
    db: drizzle(plannedOnce(statements.sql)),
    statements: statements.sql,
    openLine: (heard) => openLine(databaseUrl, settings, heard),
    async close() {
      await Promise.all([transactions.close(), statements.close()])
    },
  }
}

function openLine(
  databaseUrl: string,
  settings: postgres.Options<Record<string, never>>,
  heard: (payload: string) => void,
): Line {
  let isLost = false
  let giveUp: ((error: Error) => void) | null = null
  const lose = () => {
    isLost = true
    giveUp?.(new Error('the connection was lost'))
  }
  const options = {
    ...settings,
    max: 1,
    fetch_types: false,
    onclose: lose,
    // What the driver's own `listen` is made of; that one takes up a lost connection without a word.
    onnotify: (_channel: string, payload: string) => heard(payload),
  }
  const sql = postgres(databaseUrl, options)
  const close = () => {
    lose()
    sql.end({ timeout: 0 }).catch(() => {})
  }
  return {
    async ask(question, timeoutMs) {
      const timer = setTimeout(close, timeoutMs)
      try {
        // The driver may never settle what is under way on a connection that is lost.
        return await new Promise((resolve, reject) => {
          giveUp = reject
          if (isLost) lose()
          else question(sql).then(resolve, reject)
        })
      } finally {
        clearTimeout(timer)
      }
    },
    close,
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
