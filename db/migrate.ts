import { createRequire } from 'node:module'
import path from 'node:path'
import { drizzle } from 'drizzle-orm/postgres-js'
import { migrate as applyMigrations } from 'drizzle-orm/postgres-js/migrator'
import postgres from 'postgres'

/** Beside `package.json`, from the sources and from `dist` alike. */
const packageRoot = path.dirname(
  createRequire(import.meta.url).resolve('token-ledger/package.json'),
)

/**
 * Brings the database to the newest schema, as the owner; nothing to do is fine.
 *
 * All pending migrations run in one transaction. Processes that start together take turns, because
 * drizzle's own migrator fails when two run at once.
 *
 * @throws {postgres.PostgresError} when the role may not create schemas or roles; nothing was changed
 */
export async function migrate(databaseUrl: string): Promise<void> {
  const sql = postgres(databaseUrl, { max: 1, onnotice: () => {} })
  try {
    await sql`select pg_advisory_lock(hashtextextended('token_ledger.migrate', 0))`
    await applyMigrations(drizzle(sql), {
      migrationsFolder: path.join(packageRoot, 'drizzle'),
      migrationsSchema: 'token_ledger_migrations',
      migrationsTable: 'applied',
    })
  } finally {
    await sql.end()
  }
}
