import type { Requirements } from './auth-age.ts'
import { failureOf } from './failure.ts'
import type { Verifier } from './verifier.ts'
import type { AccessTokenClaims } from './verify-access-token.ts'

/** The part of a `Request` that is read. */
export type RequestWithHeaders = { readonly headers: Pick<Headers, 'get'> }

/**
 * The claims of a web-standard request: of Hono, Next, Elysia, SvelteKit, Workers, Deno or Bun.
 *
 * @throws what `Verifier.verifyAuthorization` throws; `failureResponse` makes the answer from it
 * @example
 * export async function GET(request: Request) {
 *   try {
 *     const { userId } = await verifyRequest(verifier, request)
 *     return Response.json(await ordersOf(userId))
 *   } catch (error) {
 *     return failureResponse(error) ?? Response.error()
 *   }
 * }
 */
export async function verifyRequest(
  verifier: Verifier,
  request: RequestWithHeaders,
  requirements?: Requirements,
): Promise<AccessTokenClaims> {
  return verifier.verifyAuthorization(request.headers.get('authorization'), requirements)
}

/** The answer 401 or 503 for an error that a verifier threw, as a `Response`; null for any other error. */
export function failureResponse(error: unknown): Response | null {
  const failure = failureOf(error)
  if (failure === null) return null
  return new Response(failure.body, { status: failure.statusCode, headers: failure.headers })
}
