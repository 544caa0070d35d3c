import type { LayoutServerLoad } from './$types'

/** The page gets the user, and no token. */
export const load: LayoutServerLoad = ({ locals }) => ({ user: locals.session.user })
