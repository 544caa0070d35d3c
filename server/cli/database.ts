import { resolve } from 'node:path'
import type postgres from 'postgres'
import { connect, type ConnectOptions, type Database } from '../../db/connection/connect.ts'
import { codeOf, driverError } from '../../db/connection/errors.ts'
import { isMigrated } from '../../db/migrate.ts'
import { rolesOf, type Roles } from '../../db/roles.ts'
import type { Config } from '../config/config.ts'
import { configuredUrls, withDatabaseErrors, type DatabaseUrls } from '../config/database-url.ts'
import { hasEmbeddedPostgres, reachEmbeddedPostgres } from '../embedded-postgres/start.ts'

/** With the rights of the service, which cannot change events. */
export const asService = { as: 'app' } as const

/** How a command connects: as the owner of the ledger unless it names a role. */
type CommandOptions = Omit<ConnectOptions, 'role'> & { readonly as?: keyof Roles }

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
  { as, ...options }: CommandOptions,
  work: (database: Database) => Promise<T>,
): Promise<T> {
  const isEmbedded = config.databaseUrl === undefined
  if (isEmbedded && !hasEmbeddedPostgres(config.dataDir))
    throw new Error(
      `no ledger in ${resolve(config.dataDir)}: run npm start or \`token-ledger migrate\``,
    )
  return withDatabaseUrls(config, async ({ owner, service }) => {
    // The embedded Postgres trusts each login alike, and before its first start it has the owner alone.
    const isService = as === asService.as && !isEmbedded
    const databaseUrl = isService ? service : owner
    const settings = { maxConnections: 2, answerWithinMs: null, ...options }
    return withDatabaseErrors(databaseUrl, async () => {
      try {
        if (as === undefined) return await using(connect(databaseUrl, settings), work)
        const role = (await rolesOf(databaseUrl))[as]
        return await using(connect(databaseUrl, { ...settings, role }), work)
      } catch (error) {
        throw (await adviceOn(error, { owner, as })) ?? error
      }
    })
  })
}

async function using<T>(database: Database, work: (database: Database) => Promise<T>): Promise<T> {
  try {
    return await work(database)
  } finally {
    await database.close()
  }
}

/** What to do about an error of the database; null when there is nothing to advise. */
async function adviceOn(
  error: unknown,
  { owner, as }: { owner: string; as: keyof Roles | undefined },
): Promise<Error | null> {
  const mayBeUnmigrated = isUnknownName(error) || isLoginRefused(error)
  if (mayBeUnmigrated && (await isUnmigrated(owner)))
    return new Error('the database is not migrated: run `token-ledger migrate`', { cause: error })
  if (isDeniedToOwner(error, as))
    return new Error(
      `${error.message}: set MIGRATION_DATABASE_URL to the login that owns the ledger`,
      { cause: error },
    )
  if (areRightsMissing(error, as))
    return new Error(`${error.message}: run \`token-ledger migrate\``, { cause: error })
  return null
}

/** Whether the role is missing, or rights of the service: as after a backup was restored on another cluster. */
function areRightsMissing(error: unknown, as: keyof Roles | undefined): error is Error {
  const code = codeOf(driverError(error))
  return code === unknownRole || (code === insufficientPrivilege && as === asService.as)
}

/** As `migrate` may not have created the login that serves. */
function isLoginRefused(error: unknown): boolean {
  return ['28000', '28P01'].includes(codeOf(driverError(error)))
}

/** Whether the login lacks a right of the owner. That `sql` may not read a table is not such a refusal. */
function isDeniedToOwner(error: unknown, as: keyof Roles | undefined): error is Error {
  const { code, severity } = driverError(error) as Partial<postgres.PostgresError>
  if (code !== insufficientPrivilege || as === asService.as) return false
  return as === undefined || severity === 'FATAL'
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
