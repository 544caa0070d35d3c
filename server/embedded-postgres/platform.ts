/** What to do where the embedded Postgres cannot run. */
export const useOwnPostgres = 'set DATABASE_URL to a Postgres of your own'

/** Keeps the locale, PGPORT and LD_LIBRARY_PATH of this process out of the database. */
export const postgresEnvironment = { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C' }
