import postgres from 'postgres'
import type { Transaction } from '../connection/transaction.ts'

export type QueryResult = {
  readonly columns: readonly string[]
  readonly rows: readonly unknown[][]
}

/**
 * What one statement returns, however long it takes, in a transaction that can only read.
 *
 * @returns null, with nothing run, when it is not one statement that returns rows
 */
export async function runReadOnly(
  sql: postgres.Sql,
  statement: string,
): Promise<QueryResult | null> {
  try {
    return await sql.begin('read only', (tx) => describeAndRun(tx, statement))
  } catch (error) {
    if (isOfSeveral(error)) return null
    throw error
  }
}

async function describeAndRun(tx: Transaction, statement: string): Promise<QueryResult | null> {
  // A transaction that has asked something can no longer be made to write.
  await tx`select set_config('statement_timeout', '0', true)`
  const { columns, types } = await tx.unsafe(statement).describe()
  if (columns.length === 0 || types.length > 0) return null
  const rows = await tx.unsafe(statement, [], { prepare: true }).values()
  return { columns: columns.map(({ name }) => name), rows: [...rows] }
}

/** Postgres prepares one statement at a time. Its name for the place that says so is in no language. */
function isOfSeveral(error: unknown): boolean {
  return error instanceof postgres.PostgresError && error.routine === 'exec_parse_message'
}
