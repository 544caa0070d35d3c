import type postgres from 'postgres'
import { isDisconnect, isRetryable } from './errors.ts'
import { createKeyedMutex, type KeyedMutex } from './keyed-mutex.ts'

export type Transaction = postgres.TransactionSql

/** A transaction and its id: a write that names the id cannot happen outside of this transaction. */
export type FencedTransaction = { readonly tx: Transaction; readonly txid: string }

/** A pool's current transactions: those with a connection, and those that wait for one. */
export type TransactionLoad = { readonly open: number; readonly waiting: number }

const loads = new WeakMap<postgres.Sql, { open: number; waiting: number }>()

export function transactionsOf(sql: postgres.Sql): TransactionLoad {
  return loads.get(sql) ?? { open: 0, waiting: 0 }
}

function countIn(sql: postgres.Sql): { opened(): void; over(): void } {
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
 * Runs `work` in one transaction and commits it. When `work` throws, the transaction is rolled back. A
 * conflict with another transaction runs `work` again, at most three times in all.
 *
 * When the backend dies during a transaction, postgres.js 3.4 sends the next statement, the commit or the
 * rollback to the closed socket, which ends the process, or to a new connection, where it runs outside of
 * any transaction. So nothing more is sent once the connection is known to be lost. Because the loss is
 * noticed a little late, every write also names the transaction's id (see `db/ledger/append.ts`).
 */
export async function inTransaction<T>(
  sql: postgres.Sql,
  work: (tx: Transaction) => Promise<T>,
): Promise<T> {
  return retryOnConflict(() => tryOnce(sql, work))
}

/** One per pool, whose connections it saves. */
const mutexes = new WeakMap<postgres.Sql, KeyedMutex>()

/**
 * Like `inTransaction`, for work that begins by locking a family or a user: in this process, one at a time
 * per id. So callers that wait for one row lock hold one connection, not all of them.
 *
 * @throws {MutexTimeout} when the earlier ones take longer than a statement waits for a lock
 */
export async function inTransactionPer<T>(
  sql: postgres.Sql,
  familyOrUserId: string,
  work: (tx: Transaction) => Promise<T>,
): Promise<T> {
  return oneAtATimePer(sql, familyOrUserId, () => inTransaction(sql, work))
}

/** As `inTransactionPer`, for a statement that locks; also for a transaction that may follow it. */
export async function oneAtATimePer<T>(
  sql: postgres.Sql,
  familyOrUserId: string,
  work: () => Promise<T>,
): Promise<T> {
  const runExclusive = mutexes.get(sql) ?? createKeyedMutex()
  mutexes.set(sql, runExclusive)
  return runExclusive(familyOrUserId, work)
}

/** Runs `work` again after a serialization failure, a deadlock or a duplicate key; three times at most. */
export async function retryOnConflict<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work()
    } catch (error) {
      if (attempt === maxTries || !isRetryable(error)) throw error
    }
  }
}

/** Reads the transaction's id, for a transaction whose first statement is not a lock that returns it. */
export async function fenced(tx: Transaction): Promise<FencedTransaction> {
  const [row] = await tx<{ txid: string }[]>`select pg_current_xact_id()::text as txid`
  if (row === undefined) throw new Error('a transaction without an id')
  return { tx, txid: row.txid }
}

/** After a statement fails because its connection was lost, the driver reports that loss within this time. */
const closingMs = 100

async function tryOnce<T>(sql: postgres.Sql, work: (tx: Transaction) => Promise<T>): Promise<T> {
  let isOver = false
  const counted = countIn(sql)
  const begun = sql.begin(
    (tx) =>
      // Settles only while the driver can still commit or roll back: then never, once the connection is lost.
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
            // It may be the error of another connection: then this transaction must still be rolled back.
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

/** The transaction, but a statement throws once it is over. */
function whileOpen(tx: Transaction, isOver: () => boolean): Transaction {
  return new Proxy(tx, {
    apply(target, self, args) {
      if (isOver()) throw new Error('the transaction is over: its connection was lost')
      return Reflect.apply(target, self, args) as unknown
    },
  })
}
