/** A UUID as Postgres writes it, in lower case: the source of a regular expression. */
export const uuidPattern = '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}'

export const uuid = new RegExp(`^${uuidPattern}$`)
