import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Verifier } from '../verifier.ts'
import type { AccessTokenClaims } from '../verify-access-token.ts'
import { failureOf } from '../failure.ts'

declare global {
  // Merges with the types of Express where they are installed, and is nothing elsewhere.
  namespace Express {
    interface Request {
      /** Set by `expressVerifier`. */
      accessToken?: AccessTokenClaims
    }
  }
}

/** Express's request, or a plain one of `node:http`. */
export type VerifiedRequest = IncomingMessage & { accessToken?: AccessTokenClaims }

export type VerifierMiddleware = (
  request: VerifiedRequest,
  response: ServerResponse,
  next: (error?: unknown) => void,
) => void

/**
 * Middleware for Express, Connect or plain `node:http`: sets `request.accessToken` and calls `next()`.
 * Refusals are answered here, 401 or 503, without `next`; other errors are given to `next`.
 */
export function expressVerifier(verifier: Verifier): VerifierMiddleware {
  return (request, response, next) => {
    void verifier.verifyAuthorization(request.headers.authorization).then(
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
