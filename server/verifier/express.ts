import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Requirements } from './auth-age.ts'
import type { Verifier } from './verifier.ts'
import type { AccessTokenClaims } from './verify-access-token.ts'
import { failureOf } from './failure.ts'

declare global {
  // Merges with the types of Express if they are installed, and has no effect otherwise.
  namespace Express {
    interface Request {
      /** Set by `expressVerifier`. */
      accessToken?: AccessTokenClaims
    }
  }
}

/** A request of Express or of plain `node:http`. */
export type VerifiedRequest = IncomingMessage & { accessToken?: AccessTokenClaims }

export type VerifierMiddleware = (
  request: VerifiedRequest,
  response: ServerResponse,
  next: (error?: unknown) => void,
) => void

/**
 * Middleware for Express, Connect or plain `node:http`: sets `request.accessToken` and calls `next()`.
 * It answers a refused request with 401 or 503 and does not call `next`. Other errors are passed to `next`.
 */
export function expressVerifier(
  verifier: Verifier,
  requirements?: Requirements,
): VerifierMiddleware {
  return (request, response, next) => {
    void verifier.verifyAuthorization(request.headers.authorization, requirements).then(
      (claims) => {
        request.accessToken = claims
        next()
      },
      (error: unknown) => {
        const failure = failureOf(error)
        if (!failure) return next(error)
        response.writeHead(failure.statusCode, failure.headers).end(failure.body)
      },
    )
  }
}
