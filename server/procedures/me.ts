import { signedInProcedure } from './access.ts'

/** The calling user and session, as the access token says. */
export const me = signedInProcedure.query(({ ctx }) => {
  const { userId, email, role, familyId, expiresAt, authenticatedAt, methods } = ctx.session
  return {
    user: { id: userId, email, role },
    familyId,
    accessTokenExpiresAt: new Date(expiresAt).toISOString(),
    authenticatedAt: new Date(authenticatedAt).toISOString(),
    methods,
  }
})
