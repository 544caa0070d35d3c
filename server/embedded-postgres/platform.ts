/** What to do where the embedded Postgres cannot run. */
export const useOwnPostgres = 'set DATABASE_URL to a Postgres of your own'

/** Keeps the locale, PGPORT and LD_LIBRARY_PATH of this process out of the database. */
export const postgresEnvironment = { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C' }

/** This room does not use `db`, and so not `codeOf` of db/connection/errors.ts. */
export function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
