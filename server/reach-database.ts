import { migrate } from '../db/migrate.ts'
import { fromDriver, isUnavailable } from '../db/transaction.ts'
import { CannotWrite } from './export-writer.ts'

/** The database could not be asked. The message is one line and names the host, never the password. */
export class DatabaseUnreachable extends Error {}

/** @throws {DatabaseUnreachable} saying which host was tried */
export async function migrateOrExplain(databaseUrl: string): Promise<void> {
  await explained(databaseUrl, () => migrate(databaseUrl))
}

/** Runs what needs the database; says so in one line when it cannot be reached, and never tells a statement. */
export async function explained<T>(databaseUrl: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (thrown) {
    const error = fromDriver(thrown)
    // A full disk has the codes of a lost connection.
    const isOfDatabase = isUnavailable(error) || isRefused(error)
    if (error instanceof CannotWrite || !isOfDatabase) throw error
    const { host, pathname } = new URL(databaseUrl)
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error'
    // The comma is for the driver: see `socketUrl`.
    const place = decodeURIComponent(host).replace(/,$/, '')
    throw new DatabaseUnreachable(
      `cannot use the database ${pathname.slice(1)} at ${place}: ${code}`,
    )
  }
}

/** Wrong user or password, or no such database: it answered, and will say the same again. */
function isRefused(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  return /^(28|3D)/.test(code)
}
