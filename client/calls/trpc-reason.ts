import { field } from '../auth-api.ts'
import type { AuthClientError } from '../errors.ts'

/**
 * Why a tRPC call or subscription failed: the service's reason, or that of the client when no access token could be
 * had. Null for any other error.
 */
export function reasonOf(error: unknown): AuthClientError['reason'] | null {
  // Not `instanceof`: a bundle may hold two copies of tRPC.
  const reason = field(error, 'data', 'reason') ?? field(error, 'cause', 'reason')
  return typeof reason === 'string' ? (reason as AuthClientError['reason']) : null
}

/** Why the access token of a call was refused, so that the call has not run; null if it was not. */
export function refusalOf(error: unknown): Refusal | null {
  const reason = reasonOf(error)
  const maxAgeSeconds = field(error, 'data', 'maxAgeSeconds')
  if (reason === 'step_up_required' && typeof maxAgeSeconds === 'number')
    return { about: 'age', maxAgeSeconds }
  return reason?.startsWith('access_token_') ? { about: 'token' } : null
}

export type Refusal =
  | { readonly about: 'token'; readonly maxAgeSeconds?: never }
  | { readonly about: 'age'; readonly maxAgeSeconds: number }
