import { getTRPCErrorFromUnknown, type TRPCError } from '@trpc/server'
import { ZodError } from 'zod'
import { codeOf, isUnavailable } from '../../db/connection/errors.ts'
import { AuthError, authErrors, type ErrorExtras, type Reason } from '../errors.ts'

/** What a caller sees of an error: the envelope of docs/reference/http.md, and nothing of the error itself. */
export type ErrorData = {
  code: TRPCError['code']
  httpStatus: number
  path?: string
  reason: Reason
} & { [Extra in keyof ErrorExtras]: ErrorExtras[Extra] }

export const settings = {
  // Never stack traces on the wire, whatever NODE_ENV says (ASVS 5.0, 16.5.1).
  isDev: false,
  errorFormatter({
    shape,
    error,
  }: {
    shape: { code: number; message: string; data: { path?: string; httpStatus: number } }
    error: TRPCError
  }) {
    const { reason, message, extras } = toPublicError(error)
    const data: ErrorData = {
      code: authErrors[reason].trpc,
      httpStatus: shape.data.httpStatus,
      ...(shape.data.path !== undefined && { path: shape.data.path }),
      reason,
      ...extras,
    }
    return { code: shape.code, message, data }
  },
}

/** What was thrown, as tRPC answers it. An unreachable database is 503, not 500. */
export function asUnavailable(thrown: unknown): TRPCError {
  const error = getTRPCErrorFromUnknown(thrown)
  if (error instanceof AuthError || !isUnavailable(error.cause)) return error
  return new AuthError('service_unavailable', describe(error.cause), { retryAfterSeconds: 1 })
}

/** The reason, message and extras that a caller may see of any error. */
export function toPublicError(error: TRPCError): {
  reason: Reason
  message: string
  extras: ErrorExtras
} {
  const reason = error instanceof AuthError ? error.reason : reasonOfCode(error)
  const inputMessage = error.cause instanceof ZodError ? inputProblem(error.cause) : null
  const extras = error instanceof AuthError ? error.extras : {}
  const message = inputMessage ?? extras.problem ?? authErrors[reason].message
  return { reason, message, extras: publicExtras(extras) }
}

function publicExtras({ incidentId, retryAfterSeconds, maxAgeSeconds }: ErrorExtras): ErrorExtras {
  return {
    ...(incidentId !== undefined && { incidentId }),
    ...(retryAfterSeconds !== undefined && { retryAfterSeconds }),
    ...(maxAgeSeconds !== undefined && { maxAgeSeconds }),
  }
}

function reasonOfCode({ code }: TRPCError): Reason {
  switch (code) {
    case 'BAD_REQUEST':
    case 'PARSE_ERROR':
    case 'METHOD_NOT_SUPPORTED':
      return 'validation_failed'
    case 'NOT_FOUND':
      return 'not_found'
    case 'PAYLOAD_TOO_LARGE':
      return 'payload_too_large'
    case 'UNSUPPORTED_MEDIA_TYPE':
      return 'unsupported_media_type'
    default:
      return 'internal_error'
  }
}

/** Names the field and the rule, never a value or a key that the caller chose. */
function inputProblem({ issues }: ZodError): string {
  const [issue] = issues
  if (issue === undefined) return authErrors.validation_failed.message
  const message = issue.code === 'unrecognized_keys' ? 'Unknown key' : issue.message
  return issue.path.length === 0 ? message : `${issue.path.join('.')}: ${message}`
}

/** For the log: class and code of an error, without its message, which may quote values. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return typeof error
  return `${error.name} ${codeOf(error)}`.trimEnd()
}
