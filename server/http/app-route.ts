import { TRPCError } from '@trpc/server'
import { getHTTPStatusCodeFromError } from '@trpc/server/http'
import type { FastifyRequest } from 'fastify'
import type { z } from 'zod'
import type { ServiceDeps } from '../procedures/deps.ts'
import { asUnavailable } from '../procedures/error-formatter.ts'
import { parseAddress } from './address.ts'

/**
 * Does the service's part of a route of the app's own. An error is reported under `name`, and carries the status that
 * Fastify answers with, unless the app handles the error.
 *
 * @param route.detailsOf what the error carries besides
 */
export async function servingAppRoute<Result>(
  { reportError }: Pick<ServiceDeps, 'reportError'>,
  route: { request: FastifyRequest; name: string; detailsOf?: (error: TRPCError) => object },
  work: () => Promise<Result>,
): Promise<Result> {
  try {
    return await work()
  } catch (cause) {
    const error = asUnavailable(cause)
    reportError(error, route.name, parseAddress(route.request.ip))
    throw Object.assign(error, {
      statusCode: getHTTPStatusCodeFromError(error),
      ...route.detailsOf?.(error),
    })
  }
}

/** @throws {TRPCError} `BAD_REQUEST`, as a procedure refuses its input */
export function parsed<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  throw new TRPCError({ code: 'BAD_REQUEST', cause: result.error })
}
