import { createAuthClient } from '../../../client/index.ts'
import { createVerifier, verifyRequest } from '../../../server/verifier/index.ts'

/** What the worker gets: the service, and a user of it. */
export type Visit = {
  readonly url: string
  readonly email: string
  readonly password: string
}

/** A worker that signs in, calls, verifies the token as a service of its own would, and signs out. */
export default {
  async fetch(request: Request): Promise<Response> {
    if (request.method === 'GET') return new Response('It runs.')
    const { url, email, password } = (await request.json()) as Visit
    const auth = createAuthClient({ baseUrl: url })
    const verifier = createVerifier({ issuer: url, audience: url })
    try {
      const { user } = await auth.login({ email, password })
      await auth.refresh()
      const answer = await auth.fetch('/trpc/me')
      const authorization = `Bearer ${await auth.getAccessToken()}`
      const { userId } = await verifyRequest(
        verifier,
        new Request(url, { headers: { authorization } }),
      )
      const { isConfirmed } = await auth.logout()
      return Response.json({ status: answer.status, isUser: userId === user.id, isConfirmed })
    } catch (error) {
      return Response.json({
        problem: String(error),
        reason: (error as { reason?: string }).reason,
      })
    } finally {
      auth.dispose()
      verifier.close()
    }
  },
}
