/** The Nil UUID (RFC 9562 §5.9): no row has it, and every other id is above it. */
export const nilUuid = '00000000-0000-0000-0000-000000000000'

/** A UUID as Postgres writes it, in lower case: the source of a regular expression. */
export const uuidPattern = '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}'

export const uuid = new RegExp(`^${uuidPattern}$`)

/** 32 hexadecimal digits as a UUID. */
export function uuidOf(hex: string): string {
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

/** The lowest and the highest of these ids, in lower case as Postgres writes them; the Nil UUID of none. */
export function rangeOf(ids: readonly string[]): { lowest: string; highest: string } {
  const sorted = ids.map((id) => id.toLowerCase()).toSorted()
  return { lowest: sorted[0] ?? nilUuid, highest: sorted.at(-1) ?? nilUuid }
}
