import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js'
import postgres from 'postgres'
import { openListener, type Listener } from './listener.ts'
import { socketsWithTimeout } from './socket.ts'

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
  openListener(onNotification: (payload: string) => void): Listener
  close(): Promise<void>
}

export type ConnectOptions = {
  /** The role every connection becomes. The server has no more rights than this one. */
  readonly role?: 'token_ledger_app' | 'token_ledger_auditor'
  readonly maxConnections?: number
  /** Null for work that takes minutes by intent, and lifts the time limits of its statements. */
  readonly answerWithinMs?: number | null
}

/** How long anything waits for a lock. */
export const lockMs = 5_000
/** A statement gets this long, and so does a transaction that is not gone on with. */
const statementMs = 10_000
/** No answer for longer than any statement may take: nobody is there any more. */
const silenceMs = statementMs + 2_000

/**
 * Where names without a schema are looked up. Other logins may be able to create functions in the schema public, and
 * one with closer argument types would run in place of Postgres's own, with the rights of this connection.
 */
export const safeSearchPath = 'pg_catalog, pg_temp'

/**
 * The arrays that statements send, by their number in pg_type. The driver (postgres.js 3.4) would ask for
 * all there are on each new connection, and one that is lost meanwhile ends the process: nobody waits for
 * that answer.
 */
const arrayTypes = Object.fromEntries(
  Object.entries({ integers: 1007, texts: 1009, uuids: 2951 }).map(([name, oid]) => [
    name,
    { to: oid, from: [], serialize: arrayLiteral, parse: (text: string) => text },
  ]),
)

function arrayLiteral(values: readonly (string | number | null)[]): string {
  const literals = values.map((value) => (value === null ? 'null' : JSON.stringify(String(value))))
  return `{${literals.join(',')}}`
}

/** Connects lazily: a database that is away shows at the first statement. */
export function connect(databaseUrl: string, options: ConnectOptions = {}): Database {
  const { role, maxConnections = 10, answerWithinMs = silenceMs } = options
  const settings = {
    connect_timeout: 3,
    // A connection that closes is one that was lost: see openPool.
    max_lifetime: null,
    // Seconds, for a socket of ours as well: the driver sets it on any that can be told.
    keep_alive: 5,
    onnotice: () => {},
    types: arrayTypes,
    fetch_types: false,
    connection: {
      application_name: 'token-ledger',
      search_path: safeSearchPath,
      ...(role && { role }),
      // Each statement is planned once a connection: over the partitions, planning it each time
      // costs ten times what running it does, and Postgres by itself does not see that.
      plan_cache_mode: 'force_generic_plan' as const,
      // A statement or a lock that takes longer is answered 503, and a forgotten transaction ends.
      statement_timeout: statementMs,
      lock_timeout: lockMs,
      idle_in_transaction_session_timeout: statementMs,
      // A backend that has half of a statement is under none of these limits, and keeps its locks:
      // it ends 14 s after it last heard of us.
      tcp_keepalives_idle: 5,
      tcp_keepalives_interval: 3,
      tcp_keepalives_count: 3,
    },
  }
  const sockets = (onSilence: () => void) =>
    answerWithinMs === null ? {} : { socket: socketsWithTimeout({ answerWithinMs, onSilence }) }
  const open = (max: number) =>
    openPool(replaceAll, ({ onclose, onSilence }) =>
      postgres(databaseUrl, {
        ...settings,
        max: Math.max(1, max),
        ...sockets(onSilence),
        onclose,
      }),
    )
  const forStatements = Math.floor(maxConnections / 3)
  const transactions = open(maxConnections - forStatements)
  const statements = open(forStatements)
  /** Where one connection is silent, the others are, too: nobody waits for each to be found out. */
  function replaceAll(): void {
    transactions.replacePool()
    statements.replacePool()
  }
  return {
    sql: transactions.sql,
    db: drizzle(plannedOnce(statements.sql)),
    statements: statements.sql,
    // Whoever asks on it is told of silence sooner; the socket it leaves behind is not.
    openListener: (heard) =>
      openListener(databaseUrl, { ...settings, ...sockets(() => {}) }, heard),
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
const drainTimeoutMs = 2_500

/**
 * A pool that is left for a new one as soon as it has lost a connection.
 *
 * A connection of postgres.js 3.4 that dies with a statement under way does not forget it: it fails the
 * next statement with the old error, or never sends it, or tries to connect without end.
 */
function openPool(
  onSilence: () => void,
  open: (events: { onclose: () => void; onSilence: () => void }) => postgres.Sql,
): {
  sql: postgres.Sql
  replacePool(): void
  close(): Promise<void>
} {
  let current = start()
  let isClosed = false

  function start(): postgres.Sql {
    const ifCurrent = (then: () => void) => () => {
      if (!isClosed && pool === current) then()
    }
    const pool: postgres.Sql = open({
      onclose: ifCurrent(replacePool),
      onSilence: ifCurrent(onSilence),
    })
    // Sets how this pool reads and writes instants and JSON.
    drizzle(pool)
    return pool
  }

  function replacePool(): void {
    const left = current
    current = start()
    setTimeout(() => void left.end({ timeout: drainTimeoutMs / 1000 }), drainTimeoutMs).unref()
  }

  return {
    sql: new Proxy(current, {
      apply: (_pool, self, args) => Reflect.apply(current, self, args) as unknown,
      get: (_pool, key) => Reflect.get(current, key) as unknown,
    }),
    replacePool,
    close() {
      isClosed = true
      return current.end({ timeout: 5 })
    },
  }
}
