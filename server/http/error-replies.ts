import { getTRPCErrorShape, type TRPCError } from '@trpc/server'
import { getHTTPStatusCodeFromError } from '@trpc/server/http'
import type { FastifyError, FastifyReply } from 'fastify'
import { isUnavailable } from '../../db/connection/errors.ts'
import { AuthError } from '../errors.ts'
import { toPublicError } from '../procedures/error-formatter.ts'
import { authRouter } from '../procedures/router.ts'

/** The public error for what Fastify refuses itself, for an unreachable database and for unexpected errors. */
export function toAuthError(error: FastifyError): AuthError {
  if (error instanceof AuthError) return error
  if (isUnavailable(error))
    return new AuthError('service_unavailable', error.code, { retryAfterSeconds: 1 })
  switch (error.statusCode) {
    case 413:
      return new AuthError('payload_too_large', error.code)
    case 415:
      return new AuthError('unsupported_media_type', error.code)
    default:
      if (
        error instanceof SyntaxError ||
        (error.statusCode !== undefined && error.statusCode < 500)
      )
        return new AuthError('validation_failed', error.code ?? 'unreadable')
      return new AuthError('internal_error', error.name)
  }
}

/** Answers in tRPC's envelope, so that errors of procedures, routes and the framework have one shape. */
export function sendError(reply: FastifyReply, error: TRPCError, path?: string): FastifyReply {
  const { retryAfterSeconds } = toPublicError(error).extras
  if (retryAfterSeconds !== undefined) void reply.header('retry-after', retryAfterSeconds)
  return reply.code(getHTTPStatusCodeFromError(error)).send(envelopeOf(error, path))
}

/** `{"error":{"message","code","data":{"code","httpStatus","path","reason",…}}}` */
export function envelopeOf(error: TRPCError, path?: string) {
  const shape = getTRPCErrorShape({
    config: authRouter._def._config,
    error,
    type: 'unknown',
    path,
    input: undefined,
    ctx: undefined,
  })
  return { error: shape }
}
