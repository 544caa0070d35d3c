import { codeOf, driverError, isUnavailable } from '../../db/connection/errors.ts'
import { migrate } from '../../db/migrate.ts'

/** The database could not be used. The message is one line; it names the host and never the password. */
export class DatabaseUnreachable extends Error {}

const insufficientPrivilege = '42501'
const lockNotAvailable = '55P03'

/**
 * @returns rights of PUBLIC that stay, as `migrate` does
 * @throws {DatabaseUnreachable} also when the database user lacks a privilege that the migration needs
 */
export async function migrateWithErrors(databaseUrl: string): Promise<string[]> {
  try {
    return await withDatabaseErrors(databaseUrl, () => migrate(databaseUrl))
  } catch (error) {
    if (!(error instanceof Error) || codeOf(error) !== insufficientPrivilege) throw error
    throw unreachable(
      databaseUrl,
      `${error.message}; the database user must own the schemas and tables of token-ledger, and needs CREATEROLE for the first migration: alter role … createrole`,
    )
  }
}

/**
 * Runs `work`, which needs the database.
 *
 * @throws {DatabaseUnreachable} in place of the driver's error, so that no SQL statement is printed
 */
export async function withDatabaseErrors<T>(
  databaseUrl: string,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work()
  } catch (thrown) {
    const error = driverError(thrown)
    if (!isUnavailable(error)) throw error
    const code = codeOf(error)
    // The message names the session that holds a lock, and never a statement.
    const reason =
      code === lockNotAvailable && error instanceof Error ? error.message : reasons[code]
    throw unreachable(
      databaseUrl,
      reason === undefined ? code || 'unknown error' : `${reason} (${code})`,
    )
  }
}

const reasons: Readonly<Record<string, string>> = {
  '28P01': 'password authentication failed',
  '28000': 'this user is not allowed to connect',
  '3D000': 'the database does not exist',
  '53300': 'too many connections',
  '57P03': 'the server is starting up or shutting down',
  ECONNREFUSED: 'no server listens there',
  ENOTFOUND: 'the host does not exist',
  EAI_AGAIN: 'the host name cannot be resolved',
  CONNECT_TIMEOUT: 'no answer from the server',
}

function unreachable(databaseUrl: string, problem: string): DatabaseUnreachable {
  const { host, pathname } = new URL(databaseUrl)
  // `socketUrl` adds the comma for postgres.js.
  const place = decodeURIComponent(host).replace(/,$/, '')
  return new DatabaseUnreachable(
    `cannot use the database ${pathname.slice(1)} at ${place}: ${problem}`,
  )
}
