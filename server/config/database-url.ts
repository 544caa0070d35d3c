import { codeOf } from '../../db/connection/errors.ts'
import { migrate } from '../../db/migrate.ts'
import { driverError, isUnavailable } from '../../db/connection/errors.ts'

/** The database could not be asked. The message is one line and names the host, never the password. */
export class DatabaseUnreachable extends Error {}

const insufficientPrivilege = '42501'
const lockNotAvailable = '55P03'

/**
 * @returns rights of PUBLIC that stay, as `migrate` does
 * @throws {DatabaseUnreachable} also when its user may not make what a migration makes
 */
export async function migrateWithErrors(databaseUrl: string): Promise<string[]> {
  try {
    return await withDatabaseErrors(databaseUrl, () => migrate(databaseUrl))
  } catch (error) {
    if (!(error instanceof Error) || codeOf(error) !== insufficientPrivilege) throw error
    throw unreachable(
      databaseUrl,
      `${error.message}; its user must own all that is ours in it, and needs CREATEROLE for the first migration: alter role … createrole`,
    )
  }
}

/** Runs what needs the database; says so in one line when it cannot be reached, and never tells a statement. */
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
    // Who holds a lock is in the message, and never a statement.
    const said = code === lockNotAvailable && error instanceof Error ? error.message : reasons[code]
    throw unreachable(
      databaseUrl,
      said === undefined ? code || 'unknown error' : `${said} (${code})`,
    )
  }
}

const reasons: Readonly<Record<string, string>> = {
  '28P01': 'the password was refused',
  '28000': 'the user was refused',
  '3D000': 'no such database',
  '53300': 'it has no connection left',
  '57P03': 'it takes nobody in at the moment',
  ECONNREFUSED: 'nothing listens there',
  ENOTFOUND: 'no such host',
  EAI_AGAIN: 'the name of the host cannot be looked up',
  CONNECT_TIMEOUT: 'no answer',
}

function unreachable(databaseUrl: string, problem: string): DatabaseUnreachable {
  const { host, pathname } = new URL(databaseUrl)
  // The comma is for the driver: see `socketUrl`.
  const place = decodeURIComponent(host).replace(/,$/, '')
  return new DatabaseUnreachable(
    `cannot use the database ${pathname.slice(1)} at ${place}: ${problem}`,
  )
}
