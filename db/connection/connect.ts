import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js'
import type postgres from 'postgres'
import { bounded } from './bounded.ts'
import { createDriver } from './driver.ts'
import { isReadOnly } from './errors.ts'
import { lockMs } from './keyed-mutex.ts'
import { openListener, type Listener } from './listener.ts'
import { duration, pinnedSettings, type SessionSettings } from './settings.ts'
import type { SocketEvents } from './socket.ts'

/** A pool for single statements: in SQL, and built with drizzle. */
export type Statements = {
  readonly statements: postgres.Sql
  /** On the same connections. */
  readonly db: PostgresJsDatabase
}

/**
 * The pools of one database. Take `transactions` for what begins and commits and for the hot path, and
 * `statements` (or `db`) for single statements of sign-in, sign-out and the service itself.
 *
 * A transaction may need a single statement to finish. In one pool, transactions that wait for its row lock
 * could hold every connection, and none of them would ever go on.
 *
 * What a caller with an access token may ask for often or at length has pools of its own, so that it cannot
 * keep others from signing in, out or on. So have the counts of the rate limits: a flood of sign-ins waits
 * for itself, and refreshes do not wait for it.
 *
 * All return instants as text, so that SQL converts them to epoch milliseconds (`epochMs`).
 */
export type Database = Statements & {
  /** Transactions and the hot path: rotations. */
  readonly transactions: postgres.Sql
  /** Whether a caller's session is active, and lists of the caller's own sessions. */
  readonly calls: Statements
  /** What admins read: lists, statistics, verification, the live tail. */
  readonly questions: Statements
  /** Counts of the rate limits alone. A commit does not wait for the disk: a crash may lose the last ones. */
  readonly limits: postgres.Sql
  /**
   * Replaces every connection, once its statements are over, at most once a second. For a server that has become
   * read-only: the primary may be reachable in the same place.
   */
  reconnect(): void
  /** Opens one more connection, for LISTEN. The caller closes it: `close` of the database does not. */
  openListener(onNotification: (payload: string) => void): Listener
  close(): Promise<void>
}

export type ConnectOptions = {
  /** The role that every connection takes on (`SET ROLE`): the service has only its rights. */
  readonly role?: 'token_ledger_app' | 'token_ledger_auditor'
  /**
   * Of `transactions` and `statements` together, a third of it for `statements`; 10 unless given. Each has at
   * least one. `calls`, `questions` and `limits` may open two more each.
   */
  readonly maxConnections?: number
  /**
   * How long a socket waits for any answer. Null waits without limit, for commands that run for minutes
   * and lift `statement_timeout` themselves.
   */
  readonly answerWithinMs?: number | null
  /** Whether connections to a standby are refused, as by the service, which writes. */
  readonly needsPrimary?: boolean
  /** A connection is closed between two statements at this age, or up to half of it earlier; one hour unless given. */
  readonly longestLifeSeconds?: number
}

/** `statement_timeout`, and how long a transaction may stay idle. */
const statementMs = 10_000
/** The same for `questions`: an admin's question that reads more than this allows is answered 503. */
const questionMs = 3_000
/** Of `calls`, and of `questions`. Both open a connection only when they need it. */
const connectionsOfCallers = 2
/** Of `limits`. Each count is one short statement, and counts of one network wait for each other anyway. */
const connectionsForLimits = 2
/** Per pool. At a millisecond each, the last of them waits a tenth of a second; further ones get 503. */
const maxWaiting = 300
const longestLifeSeconds = 3_600
const reconnectEveryMs = 1_000
/** Longer than any statement may run: without an answer by then, the server is taken for unreachable. */
const silenceMs = statementMs + 2_000

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
  const { role, maxConnections = 10, answerWithinMs = silenceMs, needsPrimary = false } = options
  const driver = createDriver(databaseUrl, { answerWithinMs, needsPrimary })
  const settings: SessionSettings = {
    ...pinnedSettings,
    application_name: 'token-ledger',
    ...(role && { role }),
    // Each statement is planned once per connection. Over the partitions, planning costs ten times
    // as much as running, and Postgres does not choose generic plans by itself.
    plan_cache_mode: 'force_generic_plan',
    // A statement that takes longer fails, and the caller gets 503. An idle transaction is ended.
    statement_timeout: duration(statementMs),
    lock_timeout: duration(lockMs),
    idle_in_transaction_session_timeout: duration(statementMs),
    // None of these limits holds for a backend that has received half a statement, and it keeps its
    // locks. With these settings it ends 14 s after it last heard from this process.
    tcp_keepalives_idle: '5',
    tcp_keepalives_interval: '3',
    tcp_keepalives_count: '3',
  }
  const longestLife = options.longestLifeSeconds ?? longestLifeSeconds
  // Not all at the same time.
  const lifeSeconds = () => longestLife * (0.5 + Math.random() / 2)
  const open = (max: number, own: SessionSettings = {}) =>
    openPool(reconnect, max + maxWaiting, (events) =>
      driver(
        {
          max: Math.max(1, max),
          settings: { ...settings, ...own },
          max_lifetime: lifeSeconds(),
          types: arrayTypes,
        },
        events,
      ),
    )
  const forStatements = Math.floor(maxConnections / 3)
  const transactions = open(maxConnections - forStatements)
  const statements = open(forStatements)
  const calls = open(connectionsOfCallers)
  const questions = open(connectionsOfCallers, { statement_timeout: duration(questionMs) })
  const limits = open(connectionsForLimits, { synchronous_commit: 'off' })
  const pools = [transactions, statements, calls, questions, limits]
  let reconnectedAt = -Infinity
  /**
   * One silent connection means that the server is unreachable, and one that refuses to write that another server has
   * become the primary: all connections are replaced at once.
   */
  function reconnect(): void {
    if (performance.now() - reconnectedAt < reconnectEveryMs) return
    reconnectedAt = performance.now()
    for (const pool of pools) pool.replacePool()
  }
  return {
    transactions: transactions.sql,
    ...statementsOn(statements),
    calls: statementsOn(calls),
    questions: statementsOn(questions),
    limits: limits.sql,
    reconnect,
    openListener: (onNotification) =>
      openListener((onnotify, onLost) => {
        // Its silence replaces no pool: `query` has a timeout of its own, and closes the connection.
        const events = { onLost, onSilence: onLost }
        return driver({ max: 1, settings, max_lifetime: null, types: arrayTypes, onnotify }, events)
      }, onNotification),
    async close() {
      await Promise.all(pools.map((pool) => pool.close()))
    },
  }
}

function statementsOn({ sql }: Pool): Statements {
  return { statements: sql, db: drizzle(plannedOnce(sql)) }
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

type Pool = {
  readonly sql: postgres.Sql
  replacePool(): void
  close(): Promise<void>
}

/** A replaced pool has this long to finish its statements, and as long again to close. */
const drainTimeoutMs = 2_500

/**
 * A pool that is replaced by a new one as soon as it loses a connection. An attempt that failed, or a connection that
 * was closed for its age, is no loss.
 *
 * A postgres.js 3.4 connection that is lost during a statement keeps it: after reconnecting it fails the next
 * statement with the old error, or never sends it, or reconnects without end.
 */
function openPool(
  reconnect: () => void,
  maxUnfinished: number,
  open: (events: SocketEvents) => postgres.Sql,
): Pool {
  let current = start()
  let isClosed = false

  function start(): postgres.Sql {
    const ifCurrent = (react: () => void) => () => {
      if (!isClosed && pool === current) react()
    }
    const driver = open({
      onLost: ifCurrent(replacePool),
      onSilence: ifCurrent(reconnect),
    })
    // Each driver has a count of its own: what a lost one never answers does not count against the next.
    const pool = bounded(driver, maxUnfinished, (error) => {
      if (isReadOnly(error)) reconnect()
    })
    // For its side effect: it sets how the pool reads and writes instants and JSON.
    drizzle(driver)
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
