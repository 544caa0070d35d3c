import { resolve } from 'node:path'
import { connect, type ConnectOptions, type Database } from '../../db/connection/connect.ts'
import { codeOf } from '../../db/connection/errors.ts'
import { isMigrated } from '../../db/migrate.ts'
import { driverError } from '../../db/connection/errors.ts'
import type { Config } from '../config/config.ts'
import { hasEmbeddedPostgres, reachEmbeddedPostgres } from '../embedded-postgres/start.ts'
import { withDatabaseErrors } from '../config/database-url.ts'

/**
 * Runs `work` on the database the service uses: `DATABASE_URL`, or the embedded one, which is started
 * for as long as it takes when the service does not run.
 */
export async function withDatabaseUrl<T>(
  config: Config,
  work: (databaseUrl: string) => Promise<T>,
): Promise<T> {
  if (config.databaseUrl !== undefined)
    return withDatabaseErrors(config.databaseUrl, () => work(config.databaseUrl ?? ''))
  const postgres = await reachEmbeddedPostgres({ dataDir: config.dataDir })
  try {
    return await withDatabaseErrors(postgres.url, () => work(postgres.url))
  } finally {
    await postgres.stop()
  }
}

/** As `withDatabaseUrl`, connected to a ledger that is there; as the owner unless a role is named. */
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
      if (!isAboutNames(error) || !(await isUnmigrated(databaseUrl))) throw error
      throw new Error('the database is not migrated: run `token-ledger migrate`', { cause: error })
    } finally {
      await database.close()
    }
  })
}

/** No such table, column, function, object, schema or role. */
function isAboutNames(error: unknown): boolean {
  const code = codeOf(driverError(error))
  return ['42P01', '42703', '42883', '42704', '3F000', '22023'].includes(code)
}

async function isUnmigrated(databaseUrl: string): Promise<boolean> {
  const database = connect(databaseUrl, { maxConnections: 1 })
  try {
    return !(await isMigrated(database))
  } catch (error) {
    return isAboutNames(error)
  } finally {
    await database.close()
  }
}
