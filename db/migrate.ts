import { createRequire } from 'node:module'
import path from 'node:path'
import { readMigrationFiles } from 'drizzle-orm/migrator'
import { drizzle } from 'drizzle-orm/postgres-js'
import { migrate as applyMigrations } from 'drizzle-orm/postgres-js/migrator'
import postgres from 'postgres'
import type { Database } from './connection/connect.ts'

/** Found by the package's name, because the sources and `dist` are at different depths. */
const packageRoot = path.dirname(
  createRequire(import.meta.url).resolve('token-ledger/package.json'),
)
const migrationsFolder = path.join(packageRoot, 'drizzle')

/**
 * Applies the pending migrations, if any, as the owner of the database.
 *
 * They run in one transaction, under an advisory lock: drizzle's migrator fails when two processes run it
 * at once.
 *
 * @throws {postgres.PostgresError} when the role may not create schemas or roles; nothing has changed then
 */
export async function migrate(databaseUrl: string): Promise<void> {
  const sql = postgres(databaseUrl, { max: 1, onnotice: () => {} })
  try {
    await sql`select pg_advisory_lock(hashtextextended('token_ledger.migrate', 0))`
    await applyMigrations(drizzle(sql), {
      migrationsFolder,
      migrationsSchema: 'token_ledger_migrations',
      migrationsTable: 'applied',
    })
  } finally {
    await sql.end()
  }
}

/** Whether this version's newest migration has been applied. A newer schema counts as well. */
export async function isMigrated({ statements }: Database): Promise<boolean> {
  const [row] = await statements<{ newest: string | null }[]>`
    select max(created_at)::text as newest
    from token_ledger_migrations.applied`
  return Number(row?.newest ?? 0) >= newestMigration()
}

/** When the newest migration was made, epoch milliseconds; drizzle compares the same number. */
function newestMigration(): number {
  const all = readMigrationFiles({ migrationsFolder })
  return Math.max(...all.map(({ folderMillis }) => folderMillis))
}
