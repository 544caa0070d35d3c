import type { AuthClientOptions } from '../../client/index.ts'

/** Kept, because a test may replace it. */
const { URL } = globalThis

/** Answers `/auth` as the service does, for what the service itself cannot be made to say: users with further fields. */
export function grantingFetch(userNow: () => Record<string, unknown>): {
  readonly fetch: NonNullable<AuthClientOptions['fetch']>
  /** The paths of all requests, in order. */
  readonly seen: string[]
} {
  const seen: string[] = []
  return {
    seen,
    fetch: async (input) => {
      const path = new URL(input as string).pathname
      seen.push(path)
      const data =
        path === '/auth/logout' ? { success: true, revoked: 1 } : grant(seen.length, userNow())
      return Response.json({ result: { data } })
    },
  }
}

function grant(number: number, user: Record<string, unknown>) {
  return {
    accessToken: `access-${number}`,
    refreshToken: `refresh-${number}`,
    tokenType: 'Bearer',
    expiresIn: 900,
    refreshExpiresAt: new Date(Date.now() + 86_400_000 + number).toISOString(),
    familyId: '01890000-0000-7000-8000-000000000001',
    user,
  }
}
