import type { Requirements } from './auth-age.ts'
import { failureOf } from './failure.ts'
import type { Verifier } from './verifier.ts'
import type { AccessTokenClaims } from './verify-access-token.ts'

/** The part of Nest's `ExecutionContext` that is used, on Express and on Fastify. */
export type NestContext = {
  switchToHttp(): { getRequest(): unknown; getResponse(): unknown }
}

/** A request behind the guard. */
export type VerifiedNestRequest = {
  readonly headers: { readonly authorization?: string | undefined }
  accessToken?: AccessTokenClaims
}

/** The shape of Nest's `CanActivate`. */
export type NestGuard = { canActivate(context: NestContext): Promise<boolean> }

type HttpExceptionClass = new (body: Record<string, unknown>, status: number) => Error
type Headed = { header(name: string, value: string): unknown }

/**
 * A guard for HTTP controllers of Nest: sets `request.accessToken`, and refuses with 401 or 503. Pass Nest's
 * `HttpException`, because this package does not depend on Nest.
 *
 * @example
 * app.useGlobalGuards(nestVerifier(verifier, HttpException))
 * // or @UseGuards(nestVerifier(verifier, HttpException)) above a controller
 */
export function nestVerifier(
  verifier: Verifier,
  HttpException: HttpExceptionClass,
  requirements?: Requirements,
): NestGuard {
  return {
    async canActivate(context) {
      const http = context.switchToHttp()
      const request = http.getRequest() as VerifiedNestRequest
      try {
        const { authorization } = request.headers
        request.accessToken = await verifier.verifyAuthorization(authorization, requirements)
        return true
      } catch (error) {
        const failure = failureOf(error)
        if (failure === null) throw error
        const response = http.getResponse() as Headed
        for (const [name, value] of Object.entries(failure.headers)) response.header(name, value)
        throw new HttpException(JSON.parse(failure.body), failure.statusCode)
      }
    },
  }
}
