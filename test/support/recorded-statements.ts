import { drizzle } from 'drizzle-orm/postgres-js'
import postgres, { type Sql } from 'postgres'

/** One connection with the role of the service, and every statement that it sends. */
export function recordStatements(databaseUrl: string): { sql: Sql; statements: string[] } {
  const statements: string[] = []
  const sql = postgres(databaseUrl, {
    max: 1,
    connection: { role: 'token_ledger_app' },
    debug: (_connection, query) => statements.push(query),
  })
  // As in `connect`: it leaves texts of JSON as they are.
  drizzle(sql)
  return { sql, statements }
}
