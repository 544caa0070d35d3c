import type postgres from 'postgres'
import { codeOf, lockNotAvailable } from '../connection/errors.ts'
import { describeHolders, readTableHolders } from '../connection/lock-holders.ts'
import { instantParam } from '../instant.ts'
import type { Transaction } from '../connection/transaction.ts'

/** A month that has ended: the suffix of its two partitions (`202601`) and the range of family ids in them. */
export type ClosedMonth = {
  readonly month: string
  readonly firstId: string
  readonly lastId: string
}

/** Attempts to lock the tables while other transactions use them. */
const maxTries = 20

/**
 * How long one attempt waits, and so how long others queue behind it. Shorter than `deadlock_timeout` (1 s):
 * Postgres cancels no other transaction because of it.
 */
const lockTimeoutMs = 500

/**
 * Makes the closed months of which families are in the default partition, and moves them there. In a transaction
 * of its own, because the ledger is locked until it ends.
 *
 * @throws {postgres.PostgresError} 55P03 when other transactions kept the tables locked in every attempt
 */
export async function makeClosedMonths(sql: postgres.Sql, beforeAt: number): Promise<void> {
  await inBriefAttempts(() =>
    sql.begin(async (tx) => {
      await tx`set local statement_timeout = 0`
      await tx`select set_config('lock_timeout', ${`${lockTimeoutMs}ms`}, true)`
      await tx`select token_ledger.make_closed_months(${instantParam(beforeAt)}::timestamptz)`
    }),
  )
}

/** Months that ended before `beforeAt` and before now. */
export async function listClosedMonths(
  tx: Transaction | postgres.Sql,
  beforeAt: number,
): Promise<ClosedMonth[]> {
  return tx<ClosedMonth[]>`
    select month, first_id as "firstId", last_id as "lastId"
    from token_ledger.closed_months(${instantParam(beforeAt)}::timestamptz)`
}

/** Makes these months read-only until the transaction ends. Also keeps a second archive from starting. */
export async function freezeMonths(tx: Transaction, months: readonly ClosedMonth[]): Promise<void> {
  await tx`set local statement_timeout = 0`
  await tx`set local idle_in_transaction_session_timeout = 0`
  await tx`select token_ledger.take_turn('partitions')`
  for (const { month } of months)
    try {
      await tx.savepoint(
        (inner) => inner`
          lock table ${table(inner, 'token_family', month)}, ${table(inner, 'token_event', month)}
          in share mode`,
      )
    } catch (error) {
      throw await withHolders(tx, error, months)
    }
}

/** Adds the sessions that hold the tables to the error of a lock timeout. */
async function withHolders(
  tx: Transaction,
  error: unknown,
  months: readonly ClosedMonth[],
): Promise<unknown> {
  if (codeOf(error) !== lockNotAvailable) return error
  const suffixes = ['', ...months.map(({ month }) => `_${month}`)]
  const tables = suffixes.flatMap((suffix) => [
    `token_ledger.token_family${suffix}`,
    `token_ledger.token_event${suffix}`,
  ])
  const holders = await readTableHolders(tx, tables)
  const message = `the months are in use by ${describeHolders(holders)}`
  return Object.assign(new Error(message, { cause: error }), { code: lockNotAvailable })
}

/** How many families of the month are still active. */
export async function countOpenFamilies(tx: Transaction, month: ClosedMonth): Promise<number> {
  const [row] = await tx<{ open: number }[]>`
    select count(*)::integer as open
    from token_audit.sessions
    where family_id between ${month.firstId}::uuid and ${month.lastId}::uuid and status = 'active'`
  return row?.open ?? 0
}

/**
 * Detaches the months' partitions from the ledger and drops them, when the transaction commits. It needs both
 * tables exclusively: each attempt waits only briefly, so that rotations never wait long behind it.
 *
 * @throws {postgres.PostgresError} 55P03 when other transactions kept the tables locked in every attempt
 */
export async function dropMonths(
  tx: postgres.TransactionSql,
  months: readonly ClosedMonth[],
): Promise<void> {
  await tx`select set_config('lock_timeout', ${`${lockTimeoutMs}ms`}, true)`
  try {
    // In the order in which a sign-in locks them, so that the two cannot deadlock.
    await inBriefAttempts(() =>
      tx.savepoint(async (savepoint) => {
        await savepoint`lock table only token_ledger.token_family in access exclusive mode`
        await savepoint`lock table only token_ledger.token_event in access exclusive mode`
        for (const { month, firstId, lastId } of months) {
          // Families that expired without an end are still in it.
          await savepoint`
            delete from token_ledger.open_family
            where family_id between ${firstId}::uuid and ${lastId}::uuid`
          await savepoint`
            delete from token_ledger.replay_suspicion
            where family_id between ${firstId}::uuid and ${lastId}::uuid`
          for (const parent of ['token_event', 'token_family'] as const) {
            const part = table(savepoint, parent, month)
            await savepoint`alter table ${savepoint(`token_ledger.${parent}`)} detach partition ${part}`
            await savepoint`drop table ${part}`
          }
        }
      }),
    )
  } catch (error) {
    throw await withHolders(tx, error, months)
  }
}

/** Repeats work that fails because of `lockTimeoutMs`. */
async function inBriefAttempts(work: () => Promise<unknown>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await work()
      return
    } catch (error) {
      if (codeOf(error) !== lockNotAvailable || attempt === maxTries) throw error
    }
  }
}

function table(tx: Transaction, parent: 'token_family' | 'token_event', month: string) {
  if (!/^\d{6}$/.test(month)) throw new Error('a month is six digits')
  return tx(`token_ledger.${parent}_${month}`)
}
