import type postgres from 'postgres'
import { codeOf } from '../connection/errors.ts'
import { describeHolders, readTableHolders } from '../connection/lock-holders.ts'
import { instantParam } from '../instant.ts'
import type { Transaction } from '../connection/transaction.ts'

/** A month of families that has ended: the suffix of its two partitions, and the ids they hold. */
export type ClosedMonth = {
  readonly month: string
  readonly firstId: string
  readonly lastId: string
}

/** How often somebody else may be in the way when the months are taken out. */
const maxTries = 20

/** Nobody waits longer than this because of us, and no deadlock is looked for before (`deadlock_timeout`). */
const lockTimeoutMs = 500

const lockNotAvailable = '55P03'

/** Months that had ended by then, and not in the future; those in the default partition are in none. */
export async function listClosedMonths(tx: Transaction, beforeAt: number): Promise<ClosedMonth[]> {
  return tx<ClosedMonth[]>`
    select month, first_id as "firstId", last_id as "lastId"
    from token_ledger.closed_months(${instantParam(beforeAt)}::timestamptz)`
}

/**
 * Keeps these months as they are until the transaction ends: they can be read, not written. One archive at
 * a time.
 */
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

/** The error, and who has the tables, if that is why. */
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

/** Families of these months that could still be refreshed. */
export async function countOpenFamilies(tx: Transaction, month: ClosedMonth): Promise<number> {
  const [row] = await tx<{ open: number }[]>`
    select count(*)::integer as open
    from token_audit.sessions
    where family_id between ${month.firstId}::uuid and ${month.lastId}::uuid and status = 'active'`
  return row?.open ?? 0
}

/**
 * Takes the months out of the ledger and drops them, with the transaction. It asks for the tables between
 * two rotations, and again when somebody was in the way: nobody waits behind it for long.
 */
export async function dropMonths(
  tx: postgres.TransactionSql,
  months: readonly ClosedMonth[],
): Promise<void> {
  await tx`select set_config('lock_timeout', ${`${lockTimeoutMs}ms`}, true)`
  for (let attempt = 1; ; attempt++) {
    try {
      // In the order in which a sign-in takes them.
      await tx.savepoint(async (within) => {
        await within`lock table only token_ledger.token_family in access exclusive mode`
        await within`lock table only token_ledger.token_event in access exclusive mode`
        for (const { month } of months)
          for (const parent of ['token_event', 'token_family'] as const) {
            const part = table(within, parent, month)
            await within`alter table ${within(`token_ledger.${parent}`)} detach partition ${part}`
            await within`drop table ${part}`
          }
      })
      return
    } catch (error) {
      const isInTheWay = codeOf(error) === lockNotAvailable
      if (!isInTheWay || attempt === maxTries) throw await withHolders(tx, error, months)
    }
  }
}

function table(tx: Transaction, parent: 'token_family' | 'token_event', month: string) {
  if (!/^\d{6}$/.test(month)) throw new Error('a month is six digits')
  return tx(`token_ledger.${parent}_${month}`)
}
