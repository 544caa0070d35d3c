import { migrate } from '../db/migrate.ts'
import { driverError, isUnavailable } from '../db/transaction.ts'

/** The database could not be asked. The message is one line and names the host, never the password. */
export class DatabaseUnreachable extends Error {}

/** @throws {DatabaseUnreachable} saying which host was tried */
export async function migrateOrExplain(databaseUrl: string): Promise<void> {
  await explained(databaseUrl, () => migrate(databaseUrl))
}

/** Runs what needs the database; says so in one line when it cannot be reached, and never with the SQL that failed. */
export async function explained<T>(databaseUrl: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (thrown) {
    const error = driverError(thrown)
    const problem = problemOf(error)
    if (problem === null) throw error
    const { host, pathname } = new URL(databaseUrl)
    throw new DatabaseUnreachable(
      `cannot use the database ${pathname.slice(1)} at ${decodeURIComponent(host)}: ${problem}`,
    )
  }
}

const words: Readonly<Record<string, string>> = {
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

const insufficientPrivilege = '42501'

/** @returns null for what is not about reaching the database or about the rights in it */
function problemOf(error: unknown): string | null {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  if (code === insufficientPrivilege && error instanceof Error)
    return `${error.message}; its user must own all that is ours in it, and needs CREATEROLE for the first migration: alter role … createrole`
  if (!isUnavailable(error)) return null
  const said = words[code]
  return said === undefined ? code || 'unknown error' : `${said} (${code})`
}
