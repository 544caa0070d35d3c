import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js'
import postgres from 'postgres'
import { lockMs } from './keyed-mutex.ts'
import { openListener, type Listener } from './listener.ts'
import { socketsWithTimeout } from './socket.ts'

/**
 * Pools of one database: take `transactions` for what begins and commits and for the hot path,
 * `statements` (or `db`, which is drizzle on the same pool) for single statements, and `limits` for the
 * counts of the rate limits.
 *
 * The first two are apart because a transaction may need a single statement to finish. In one pool, transactions
 * that wait for its row lock could hold every connection, and none of them would ever go on. `limits` is
 * apart so that a flood of sign-ins waits for itself, and not refreshes for the flood.
 *
 * All return instants as text, so that SQL converts them to epoch milliseconds (`epochMs`).
 */
export type Database = {
  /** Transactions and the hot path: rotations. */
  readonly transactions: postgres.Sql
  /** Single statements in SQL. */
  readonly statements: postgres.Sql
  /** Single statements built with drizzle, on the connections of `statements`. */
  readonly db: PostgresJsDatabase
  /** Counts of the rate limits alone. A commit does not wait for the disk: a crash may lose the last ones. */
  readonly limits: postgres.Sql
  /** Opens one more connection, for LISTEN. The caller closes it: `close` of the database does not. */
  openListener(onNotification: (payload: string) => void): Listener
  close(): Promise<void>
}

export type ConnectOptions = {
  /** The role that every connection takes on (`SET ROLE`): the service has only its rights. */
  readonly role?: 'token_ledger_app' | 'token_ledger_auditor'
  /**
   * Of `transactions` and `statements` together, a third of it for the latter; 10 unless given. Each pool has at
   * least one. `limits` has two more.
   */
  readonly maxConnections?: number
  /**
   * How long a socket waits for any answer. Null waits without limit, for commands that run for minutes
   * and lift `statement_timeout` themselves.
   */
  readonly answerWithinMs?: number | null
}

/** `statement_timeout`, and how long a transaction may stay idle. */
const statementMs = 10_000
/** Longer than any statement may run: without an answer by then, the server is taken for unreachable. */
const silenceMs = statementMs + 2_000

/** Of `limits`. Each count is one short statement, and counts of one network wait for each other anyway. */
const connectionsForLimits = 2

/**
 * Where names without a schema are looked up. Other logins may be able to create functions in the schema public, and
 * one with closer argument types would run in place of Postgres's own, with the rights of this connection.
 */
export const safeSearchPath = 'pg_catalog, pg_temp'

/**
 * The array types that statements send, by their OID in pg_type. By default postgres.js 3.4 reads all array
 * types on each new connection, and ignores the promise of that query: losing the connection meanwhile is
 * an unhandled rejection, which ends the process.
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

/** Opens no connection yet: an unreachable database shows at the first statement. */
export function connect(databaseUrl: string, options: ConnectOptions = {}): Database {
  const { role, maxConnections = 10, answerWithinMs = silenceMs } = options
  const settings = {
    connect_timeout: 3,
    // Connections are never closed for their age, so one that closes was lost: see openPool.
    max_lifetime: null,
    // Seconds. The driver sets it on every socket that has `setKeepAlive`.
    keep_alive: 5,
    onnotice: () => {},
    types: arrayTypes,
    fetch_types: false,
    connection: {
      application_name: 'token-ledger',
      search_path: safeSearchPath,
      ...(role && { role }),
      // Each statement is planned once per connection. Over the partitions, planning costs ten times
      // as much as running, and Postgres does not choose generic plans by itself.
      plan_cache_mode: 'force_generic_plan' as const,
      // A statement that takes longer fails, and the caller gets 503. An idle transaction is ended.
      statement_timeout: statementMs,
      lock_timeout: lockMs,
      idle_in_transaction_session_timeout: statementMs,
      // None of these limits holds for a backend that has received half a statement, and it keeps its
      // locks. With these settings it ends 14 s after it last heard from this process.
      tcp_keepalives_idle: 5,
      tcp_keepalives_interval: 3,
      tcp_keepalives_count: 3,
    },
  }
  const sockets = (onSilence: () => void) =>
    answerWithinMs === null ? {} : { socket: socketsWithTimeout({ answerWithinMs, onSilence }) }
  const open = (max: number, more: { synchronous_commit?: 'off' } = {}) =>
    openPool(replaceAll, ({ onclose, onSilence }) =>
      postgres(databaseUrl, {
        ...settings,
        connection: { ...settings.connection, ...more },
        max: Math.max(1, max),
        ...sockets(onSilence),
        onclose,
      }),
    )
  const forStatements = Math.floor(maxConnections / 3)
  const transactions = open(maxConnections - forStatements)
  const statements = open(forStatements)
  const limits = open(connectionsForLimits, { synchronous_commit: 'off' })
  /** One silent connection means that the server is unreachable: all others are replaced at once. */
  function replaceAll(): void {
    transactions.replacePool()
    statements.replacePool()
    limits.replacePool()
  }
  return {
    transactions: transactions.sql,
    db: drizzle(plannedOnce(statements.sql)),
    statements: statements.sql,
    limits: limits.sql,
    // Its silence replaces no pool: `query` has a timeout of its own, and closes the connection.
    openListener: (onNotification) =>
      openListener(databaseUrl, { ...settings, ...sockets(() => {}) }, onNotification),
    async close() {
      await Promise.all([transactions.close(), statements.close(), limits.close()])
    },
  }
}

/**
 * For drizzle, which sends unprepared statements, planned each time. Over the views and their partitions
 * that costs more than running them. Drizzle sends few different statements, so a connection keeps few plans.
 */
function plannedOnce(sql: postgres.Sql): postgres.Sql {
  const unsafe: postgres.Sql['unsafe'] = (query, parameters, options) =>
    sql.unsafe(query, parameters, { ...options, prepare: true })
  return new Proxy(sql, {
    get: (pool, key) => (key === 'unsafe' ? unsafe : (Reflect.get(pool, key) as unknown)),
  })
}

/** A replaced pool has this long to finish its statements, and as long again to close. */
const drainTimeoutMs = 2_500

/**
 * A pool that is replaced by a new one as soon as it loses a connection.
 *
 * A postgres.js 3.4 connection that is lost during a statement keeps it: after reconnecting it fails the next
 * statement with the old error, or never sends it, or reconnects without end.
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
    const ifCurrent = (react: () => void) => () => {
      if (!isClosed && pool === current) react()
    }
    const pool: postgres.Sql = open({
      onclose: ifCurrent(replacePool),
      onSilence: ifCurrent(onSilence),
    })
    // For its side effect: it sets how the pool reads and writes instants and JSON.
    drizzle(pool)
    return pool
  }

  function replacePool(): void {
    const replaced = current
    current = start()
    setTimeout(() => void replaced.end({ timeout: drainTimeoutMs / 1000 }), drainTimeoutMs).unref()
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
