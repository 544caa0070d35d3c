/** What to do where the embedded Postgres cannot run. */
export const useOwnPostgres = 'set DATABASE_URL to a Postgres of your own'

/** No locale, PGPORT or LD_LIBRARY_PATH of the caller's leaks into the database. */
export const postgresEnvironment = { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C' }

export function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
