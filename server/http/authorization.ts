import type { FastifyRequest } from 'fastify'
import { AuthError } from '../errors.ts'

/**
 * The `Authorization` header of a request. Node would use the first of two where a proxy may have checked the second
 * (RFC 6750 §2).
 *
 * @throws {AuthError} `validation_failed` for two of them
 */
export function authorizationOf({ headers, raw }: FastifyRequest): string | undefined {
  const names = raw.rawHeaders.filter((_, i) => i % 2 === 0)
  if (names.filter((name) => name.toLowerCase() === 'authorization').length > 1)
    throw new AuthError('validation_failed', 'two Authorization headers')
  return headers.authorization
}
