/** What the system (ENOENT), Postgres (42P01) or the driver calls it; empty when it has no such name. */
export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}
