import type postgres from 'postgres'
import { isDisconnect, isRetryable } from './errors.ts'
import { createKeyedMutex, type KeyedMutex } from './keyed-mutex.ts'

export type Transaction = postgres.TransactionSql

/** A transaction and its id, for writes that must happen in this one or not at all. */
export type FencedTransaction = { readonly tx: Transaction; readonly txid: string }

/** Transactions of a pool, now: those that have a connection, and those that wait for one. */
export type TransactionLoad = { readonly open: number; readonly waiting: number }

const loads = new WeakMap<postgres.Sql, { open: number; waiting: number }>()

export function transactionsOf(sql: postgres.Sql): TransactionLoad {
  return loads.get(sql) ?? { open: 0, waiting: 0 }
}

function count(sql: postgres.Sql): { opened(): void; over(): void } {
  const load = loads.get(sql) ?? { open: 0, waiting: 0 }
  loads.set(sql, load)
  let state: keyof TransactionLoad = 'waiting'
  load[state] += 1
  return {
    opened() {
      load[state] -= 1
      state = 'open'
      load[state] += 1
    },
    over: () => void (load[state] -= 1),
  }
}

const maxTries = 3

/**
 * Runs `work` in one transaction and commits it; when it throws, nothing has happened.
 *
 * When the backend dies in the middle, postgres.js 3.4 sends what comes next (a statement, the
 * commit, the rollback) to a socket that is gone, which ends the process, or to a new connection,
 * outside of any transaction. So a transaction that has lost its connection sends nothing more; and
 * because that is noticed a little late, every write is fenced by the transaction's id as well (see
 * `db/ledger/append.ts`).
 */
export async function inTransaction<T>(
  sql: postgres.Sql,
  work: (tx: Transaction) => Promise<T>,
): Promise<T> {
  return retryOnConflict(() => tryOnce(sql, work))
}

/** By the pool whose connections they save. */
const mutexes = new WeakMap<postgres.Sql, KeyedMutex>()

/**
 * As `inTransaction`, for one that begins by locking a family, or a user: those on the same one follow
 * one another, and wait for a lock that somebody else keeps with one connection.
 *
 * @throws {NoTurn} when the turn does not come for as long as a statement waits for a lock
 */
export async function inTransactionPer<T>(
  sql: postgres.Sql,
  familyOrUserId: string,
  work: (tx: Transaction) => Promise<T>,
): Promise<T> {
  const runExclusive = mutexes.get(sql) ?? createKeyedMutex()
  mutexes.set(sql, runExclusive)
  return runExclusive(familyOrUserId, () => inTransaction(sql, work))
}

/** What `decide` resolves with, decided again where the database found it in conflict with another. */
export async function retryOnConflict<T>(decide: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await decide()
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

/** How soon after a statement failed with its connection the driver says that this is gone. */
const closingMs = 100

async function tryOnce<T>(sql: postgres.Sql, work: (tx: Transaction) => Promise<T>): Promise<T> {
  let isOver = false
  const counted = count(sql)
  const begun = sql.begin(
    (tx) =>
      // Settled only while the driver may still commit or roll back.
      new Promise<T>((resolve, reject) => {
        counted.opened()
        const fail = (error: unknown) => {
          if (!isOver) reject(error instanceof Error ? error : new Error(String(error)))
        }
        work(whileOpen(tx, () => isOver)).then(
          (result) => {
            if (!isOver) resolve(result)
          },
          (error: unknown) => {
            // Perhaps another connection's: then this one has to be rolled back.
            if (isDisconnect(error)) setTimeout(fail, closingMs, error)
            else fail(error)
          },
        )
      }),
  )
  try {
    return (await begun) as T
  } finally {
    isOver = true
    counted.over()
  }
}

/** The transaction, which refuses a statement once it is over. */
function whileOpen(tx: Transaction, isOver: () => boolean): Transaction {
  return new Proxy(tx, {
    apply(target, self, args) {
      if (isOver()) throw new Error('the transaction is over: its connection was lost')
      return Reflect.apply(target, self, args) as unknown
    },
  })
}
