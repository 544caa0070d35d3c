/**
 * The code of an error of the operating system, such as ENOENT; empty for other errors. The same as `codeOf` of
 * db/connection/errors.ts, for what must run without `db`: the data folder and the embedded Postgres.
 */
export function systemErrorCode(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}
