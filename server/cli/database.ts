import { resolve } from 'node:path'
import type postgres from 'postgres'
import { connect, type ConnectOptions, type Database } from '../../db/connection/connect.ts'
import { codeOf, driverError } from '../../db/connection/errors.ts'
import { isMigrated } from '../../db/migrate.ts'
import type { Config } from '../config/config.ts'
import { configuredUrls, withDatabaseErrors, type DatabaseUrls } from '../config/database-url.ts'
import { hasEmbeddedPostgres, reachEmbeddedPostgres } from '../embedded-postgres/start.ts'

/** With the rights of the service, which cannot change events. */
export const asService = { role: 'token_ledger_app' } as const

const insufficientPrivilege = '42501'
/** Of a connection that asks for a role; Postgres calls it an invalid parameter value. */
const unknownRole = '22023'

/**
 * Runs `work` on the service's database: that of `DATABASE_URL`, or the embedded Postgres, which is started
 * for the duration of `work` if the service is not running.
 */
export async function withDatabaseUrls<T>(
  config: Config,
  work: (urls: DatabaseUrls) => Promise<T>,
): Promise<T> {
  const urls = configuredUrls(config)
  if (urls !== null) return work(urls)
  const postgres = await reachEmbeddedPostgres({ dataDir: config.dataDir })
  try {
    return await work({ owner: postgres.url, service: postgres.serviceUrl })
  } finally {
    await postgres.stop()
  }
}

/**
 * Like `withDatabaseUrls`, connected to an existing ledger: with the login that serves if `options` names its role,
 * otherwise with the owner.
 */
export async function withDatabase<T>(
  config: Config,
  options: ConnectOptions,
  work: (database: Database) => Promise<T>,
): Promise<T> {
  const isEmbedded = config.databaseUrl === undefined
  if (isEmbedded && !hasEmbeddedPostgres(config.dataDir))
    throw new Error(
      `no ledger in ${resolve(config.dataDir)}: run npm start or \`token-ledger migrate\``,
    )
  return withDatabaseUrls(config, async ({ owner, service }) => {
    // The embedded Postgres trusts each login alike, and before its first start it has the owner alone.
    const isService = options.role === asService.role && !isEmbedded
    const databaseUrl = isService ? service : owner
    return withDatabaseErrors(databaseUrl, async () => {
      const database = connect(databaseUrl, { maxConnections: 2, answerWithinMs: null, ...options })
      try {
        return await work(database)
      } catch (error) {
        throw (await adviceOn(error, { owner, options })) ?? error
      } finally {
        await database.close()
      }
    })
  })
}

/** What to do about an error of the database; null when there is nothing to advise. */
async function adviceOn(
  error: unknown,
  { owner, options }: { owner: string; options: ConnectOptions },
): Promise<Error | null> {
  const mayBeUnmigrated = isUnknownName(error) || isLoginRefused(error)
  if (mayBeUnmigrated && (await isUnmigrated(owner)))
    return new Error('the database is not migrated: run `token-ledger migrate`', { cause: error })
  if (isDeniedToOwner(error, options))
    return new Error(
      `${error.message}: set MIGRATION_DATABASE_URL to the login that owns the ledger`,
      { cause: error },
    )
  if (areRightsMissing(error, options))
    return new Error(`${error.message}: run \`token-ledger migrate\``, { cause: error })
  return null
}

/** Whether the role is missing, or rights of the service: as after a backup was restored on another cluster. */
function areRightsMissing(error: unknown, { role }: ConnectOptions): error is Error {
  const code = codeOf(driverError(error))
  return code === unknownRole || (code === insufficientPrivilege && role === asService.role)
}

/** As `migrate` may not have created the login that serves. */
function isLoginRefused(error: unknown): boolean {
  return ['28000', '28P01'].includes(codeOf(driverError(error)))
}

/** Whether the login lacks a right of the owner. That `sql` may not read a table is not such a refusal. */
function isDeniedToOwner(error: unknown, { role }: ConnectOptions): error is Error {
  const { code, severity } = driverError(error) as Partial<postgres.PostgresError>
  if (code !== insufficientPrivilege || role === asService.role) return false
  return role === undefined || severity === 'FATAL'
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
