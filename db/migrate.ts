import { createRequire } from 'node:module'
import path from 'node:path'
import { readMigrationFiles } from 'drizzle-orm/migrator'
import { drizzle } from 'drizzle-orm/postgres-js'
import { migrate as applyMigrations } from 'drizzle-orm/postgres-js/migrator'
import postgres from 'postgres'
import { safeSearchPath, type Database } from './connection/connect.ts'

/** Beside `package.json`, from the sources and from `dist` alike. */
const packageRoot = path.dirname(
  createRequire(import.meta.url).resolve('token-ledger/package.json'),
)
const migrationsFolder = path.join(packageRoot, 'drizzle')

/**
 * Brings the database to the newest schema, as the owner; nothing to do is fine.
 *
 * All pending migrations run in one transaction. Processes that start together take turns, because
 * drizzle's own migrator fails when two run at once.
 *
 * @returns rights that let any login of the database create objects in it, and that the role may not revoke
 * @throws {postgres.PostgresError} when the role may not create schemas or roles; nothing was changed
 */
export async function migrate(databaseUrl: string): Promise<string[]> {
  const sql = postgres(databaseUrl, {
    max: 1,
    onnotice: () => {},
    connection: { search_path: safeSearchPath },
  })
  try {
    await sql`select pg_advisory_lock(hashtextextended('token_ledger.migrate', 0))`
    await applyMigrations(drizzle(sql), {
      migrationsFolder,
      migrationsSchema: 'token_ledger_migrations',
      migrationsTable: 'applied',
    })
    const kept = await sql<{ right: string }[]>`
      select token_ledger.revoke_create_from_public() as right`
    return kept.map(({ right }) => right)
  } finally {
    await sql.end()
  }
}

/** Whether the newest migration of this version has been applied; a newer schema is fine. */
export async function isMigrated({ sql }: Database): Promise<boolean> {
  const [row] = await sql<{ newest: string | null }[]>`
    select max(created_at)::text as newest
    from token_ledger_migrations.applied`
  return Number(row?.newest ?? 0) >= newestMigration()
}

/** When the newest migration was made, epoch milliseconds: what drizzle compares, too. */
function newestMigration(): number {
  const all = readMigrationFiles({ migrationsFolder })
  return Math.max(...all.map(({ folderMillis }) => folderMillis))
}
