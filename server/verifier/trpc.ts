import type { TRPCError } from '@trpc/server'
import type { Requirements } from './auth-age.ts'
import type { Verifier } from './verifier.ts'
import type { AccessTokenClaims } from './verify-access-token.ts'
import { type Failure, failureOf } from './failure.ts'

export type AccessTokenContext = {
  /**
   * Checks the token of the request, once for all calls of a batch that require the same.
   *
   * @throws TRPCError `UNAUTHORIZED` or `SERVICE_UNAVAILABLE`; `failureOf(error)?.reason` says which.
   */
  readonly readAccessToken: (requirements?: Requirements) => Promise<AccessTokenClaims>
}

/** The part of tRPC's `createContext` options that is read: a request of Node or of the Fetch API. */
export type ContextOptions = {
  readonly req: { readonly headers: Headers | { readonly authorization?: string | undefined } }
}

export type TrpcVerifier = {
  readonly createContext: (options: ContextOptions) => AccessTokenContext
  /** Adds `WWW-Authenticate` or `Retry-After`. It cannot for a streamed response, whose headers are sent first. */
  readonly responseMeta: (answer: { readonly errors: readonly Error[] }) => { headers?: Headers }
}

/**
 * Context and headers for a tRPC router of your own. Pass the `TRPCError` of your tRPC, because this package
 * does not depend on tRPC.
 *
 * @example
 * const auth = trpcVerifier(verifier, TRPCError)
 * const t = initTRPC.context<AccessTokenContext>().create({ errorFormatter })
 * const signedIn = t.procedure.use(async ({ ctx, next }) =>
 *   next({ ctx: { accessToken: await ctx.readAccessToken() } }),
 * )
 * createHTTPServer({ router, createContext: auth.createContext, responseMeta: auth.responseMeta })
 */
export function trpcVerifier(verifier: Verifier, ErrorClass: typeof TRPCError): TrpcVerifier {
  async function read(
    authorization: string | null | undefined,
    requirements?: Requirements,
  ): Promise<AccessTokenClaims> {
    try {
      return await verifier.verifyAuthorization(authorization, requirements)
    } catch (error) {
      const failure = failureOf(error)
      if (!failure || !(error instanceof Error)) throw error
      throw new ErrorClass({ code: failure.code, message: error.message, cause: error })
    }
  }

  return {
    createContext({ req }) {
      const checks = new Map<number | undefined, Promise<AccessTokenClaims>>()
      return {
        readAccessToken(requirements) {
          const key = requirements?.maxAuthAgeSeconds
          const checked = checks.get(key) ?? read(headerOf(req), requirements)
          checks.set(key, checked)
          return checked
        },
      }
    },

    responseMeta({ errors }) {
      const failure = errors.map(failureOf).find((found) => found !== null)
      return failure ? { headers: new Headers(failure.headers) } : {}
    },
  }
}

/**
 * Adds the reason of a refusal to what a caller sees, as the token-ledger service does. The client's links need it: they
 * renew a refused token and repeat the call. Pass it to `create`, or call it in a formatter of your own.
 *
 * @example
 * const t = initTRPC.context<AccessTokenContext>().create({ errorFormatter })
 */
export function errorFormatter<Shape extends { readonly data: object }>(about: {
  readonly shape: Shape
  readonly error: Error
}): Shape & { readonly data: FailureReason } {
  const { shape, error } = about
  const failure = failureOf(error)
  if (failure === null) return shape
  const retryAfterSeconds = Number(failure.headers['Retry-After'])
  const data: FailureReason = {
    reason: failure.reason,
    ...(retryAfterSeconds > 0 && { retryAfterSeconds }),
    ...(failure.maxAgeSeconds !== undefined && { maxAgeSeconds: failure.maxAgeSeconds }),
  }
  return { ...shape, data: { ...shape.data, ...data } }
}

/** The additions of `errorFormatter`; nothing for an error that is not about a token. */
export type FailureReason = {
  readonly reason?: Failure['reason']
  readonly retryAfterSeconds?: number
  readonly maxAgeSeconds?: number
}

function headerOf({ headers }: ContextOptions['req']): string | null | undefined {
  return headers instanceof Headers ? headers.get('authorization') : headers.authorization
}
