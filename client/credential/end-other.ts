import type { Fetch, Grant } from '../auth-api.ts'

/** The service, for calls with an access token. */
export type Server = { readonly baseUrl: string; readonly fetch: Fetch }

/** Ends this session of the user with the access token of a grant, of the same session or another. */
export async function endOther(server: Server, grant: Grant, familyId: string): Promise<void> {
  await server.fetch(`${server.baseUrl}/trpc/sessions.revoke`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      authorization: `Bearer ${grant.accessToken}`,
    },
    body: JSON.stringify({ familyId }),
    credentials: 'omit',
    redirect: 'manual',
  })
}
