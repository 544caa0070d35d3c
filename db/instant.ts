/** Epoch milliseconds as a parameter of type timestamptz. */
export function instantParam(atMs: number): string
export function instantParam(atMs: number | null): string | null
export function instantParam(atMs: number | null): string | null {
  return atMs === null ? null : new Date(atMs).toISOString()
}
