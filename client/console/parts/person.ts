/** A UUID, which says nothing to a reader: the source of a regular expression for a field of a form. */
export const uuid = '[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}'

/** How a screen names a user: by the address; without one, by the id that a directory of the team's own has chosen. */
export function personOf(
  { email, userId }: { readonly email: string | null; readonly userId: string | null },
  unknown: string,
): string {
  if (email !== null) return email
  return userId === null || new RegExp(`^${uuid}$`).test(userId) ? unknown : userId
}
