import { field } from '../auth-api.ts'
import type { AuthClientError } from '../errors.ts'

/**
 * Why a tRPC call or subscription failed: the service's reason, or that of the client when no access token could be
 * had. Null for any other error.
 */
export function reasonOf(error: unknown): AuthClientError['reason'] | null {
  // Not `instanceof`: a bundle may hold two copies of tRPC.
  const reason = field(field(error, 'data'), 'reason') ?? field(field(error, 'cause'), 'reason')
  return typeof reason === 'string' ? (reason as AuthClientError['reason']) : null
}
