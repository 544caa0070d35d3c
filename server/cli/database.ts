import { resolve } from 'node:path'
import { connect, type ConnectOptions, type Database } from '../../db/connection/connect.ts'
import { codeOf, driverError } from '../../db/connection/errors.ts'
import { isMigrated } from '../../db/migrate.ts'
import type { Config } from '../config/config.ts'
import { withDatabaseErrors } from '../config/database-url.ts'
import { hasEmbeddedPostgres, reachEmbeddedPostgres } from '../embedded-postgres/start.ts'

/** With the rights of the service, which cannot change events. */
export const asService = { role: 'token_ledger_app' } as const

/**
 * Runs `work` on the service's database: `DATABASE_URL`, or the embedded Postgres, which is started
 * for the duration of `work` if the service is not running.
 */
export async function withDatabaseUrl<T>(
  config: Config,
  work: (databaseUrl: string) => Promise<T>,
): Promise<T> {
  const { databaseUrl } = config
  if (databaseUrl !== undefined) return withDatabaseErrors(databaseUrl, () => work(databaseUrl))
  const postgres = await reachEmbeddedPostgres({ dataDir: config.dataDir })
  try {
    return await withDatabaseErrors(postgres.url, () => work(postgres.url))
  } finally {
    await postgres.stop()
  }
}

/** Like `withDatabaseUrl`, connected to an existing ledger; as the owner unless `options` names a role. */
export async function withDatabase<T>(
  config: Config,
  options: ConnectOptions,
  work: (database: Database) => Promise<T>,
): Promise<T> {
  if (config.databaseUrl === undefined && !hasEmbeddedPostgres(config.dataDir))
    throw new Error(
      `no ledger in ${resolve(config.dataDir)}: run npm start or \`token-ledger migrate\``,
    )
  return withDatabaseUrl(config, async (databaseUrl) => {
    const database = connect(databaseUrl, { maxConnections: 2, answerWithinMs: null, ...options })
    try {
      return await work(database)
    } catch (error) {
      if (!isUnknownName(error) || !(await isUnmigrated(databaseUrl))) throw error
      throw new Error('the database is not migrated: run `token-ledger migrate`', { cause: error })
    } finally {
      await database.close()
    }
  })
}

/** Postgres knows no table, column, function, object, schema or role of that name. */
function isUnknownName(error: unknown): boolean {
  const code = codeOf(driverError(error))
  return ['42P01', '42703', '42883', '42704', '3F000', '22023'].includes(code)
}

async function isUnmigrated(databaseUrl: string): Promise<boolean> {
  const database = connect(databaseUrl, { maxConnections: 1 })
  try {
    return !(await isMigrated(database))
  } catch (error) {
    return isUnknownName(error)
  } finally {
    await database.close()
  }
}
