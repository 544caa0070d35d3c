import { getTRPCErrorShape, type TRPCError } from '@trpc/server'
import { getHTTPStatusCodeFromError } from '@trpc/server/http'
import type { FastifyReply } from 'fastify'
import { authRouter } from '../procedures/router.ts'
import { publicFace } from '../procedures/trpc.ts'

/** Answers an error as tRPC does, so that one envelope covers procedures, routes and the framework. */
export function sendError(reply: FastifyReply, error: TRPCError, path?: string): FastifyReply {
  const { retryAfterSeconds } = publicFace(error).extras
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
