import postgres from 'postgres'
import type { Transaction } from '../connection/transaction.ts'

export type QueryResult = {
  readonly columns: readonly string[]
  readonly rows: readonly unknown[][]
}

/**
 * Runs one statement in a read-only transaction, without a time limit.
 *
 * @returns null, and runs nothing, unless `statement` is one statement that returns rows
 */
export async function runReadOnly(
  sql: postgres.Sql,
  statement: string,
): Promise<QueryResult | null> {
  try {
    return await sql.begin('read only', (tx) => describeAndRun(tx, statement))
  } catch (error) {
    if (hasSeveralStatements(error)) return null
    throw error
  }
}

async function describeAndRun(tx: Transaction, statement: string): Promise<QueryResult | null> {
  // After a first query, a statement cannot make the transaction read-write any more.
  await tx`select set_config('statement_timeout', '0', true)`
  const { columns, types } = await tx.unsafe(statement).describe()
  if (columns.length === 0 || types.length > 0) return null
  const rows = await tx.unsafe(statement, [], { prepare: true }).values()
  return { columns: columns.map(({ name }) => name), rows: [...rows] }
}

/**
 * Whether Postgres refused to prepare the text because it holds several statements. The name of its routine
 * is not translated, as the message is.
 */
function hasSeveralStatements(error: unknown): boolean {
  return error instanceof postgres.PostgresError && error.routine === 'exec_parse_message'
}
