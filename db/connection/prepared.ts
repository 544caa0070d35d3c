import type { PostgresJsDatabase } from 'drizzle-orm/postgres-js'

/** Which of the optional values of a statement are given: each combination is a statement of its own. */
export type Has<Values> = (name: keyof Values) => boolean

/**
 * Builds a statement with drizzle when it is first needed, and keeps it: building takes longer than the rest of a short
 * statement does in this process.
 *
 * @param build prepares the statement, with a placeholder for each value that is given
 * @returns the prepared statement of a pool for these values
 */
export function builtOnce<Values extends object, Prepared>(
  build: (db: PostgresJsDatabase, has: Has<Values>) => Prepared,
): (db: PostgresJsDatabase, values: Values) => Prepared {
  const pools = new WeakMap<PostgresJsDatabase, Map<string, Prepared>>()
  return (db, values) => {
    const has: Has<Values> = (name) => values[name] !== undefined
    const shape = (Object.keys(values) as (keyof Values)[]).filter(has).join()
    const statements = pools.get(db) ?? new Map<string, Prepared>()
    pools.set(db, statements)
    const statement = statements.get(shape) ?? build(db, has)
    statements.set(shape, statement)
    return statement
  }
}
