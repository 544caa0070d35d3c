import type { Requirements } from './auth-age.ts'
import { failureOf } from './failure.ts'
import type { Verifier } from './verifier.ts'
import type { AccessTokenClaims } from './verify-access-token.ts'

/** The part of Koa's context that is used. */
export type KoaContext = {
  readonly headers: { readonly authorization?: string | undefined }
  state: { accessToken?: AccessTokenClaims }
  status: number
  body: unknown
  set(headers: Record<string, string>): void
}

export type KoaMiddleware = (context: KoaContext, next: () => Promise<unknown>) => Promise<void>

/**
 * Middleware for Koa: sets `ctx.state.accessToken`, and answers a refused request with 401 or 503 without calling
 * `next`. Other errors go to Koa.
 */
export function koaVerifier(verifier: Verifier, requirements?: Requirements): KoaMiddleware {
  return async (context, next) => {
    try {
      const { authorization } = context.headers
      context.state.accessToken = await verifier.verifyAuthorization(authorization, requirements)
    } catch (error) {
      const failure = failureOf(error)
      if (failure === null) throw error
      context.status = failure.statusCode
      context.set(failure.headers)
      context.body = failure.body
      return
    }
    await next()
  }
}
