import type { Reason } from '../server/errors.ts'

/** Reasons of the client itself: no valid answer of the server was received. */
export type ClientReason =
  /** No answer: offline, connection refused or interrupted. */
  | 'network_error'
  /** No complete answer within 10 s. */
  | 'timeout'
  /** An answer that is not from the service: a proxy's page, a captive portal, a truncated body. */
  | 'unreadable_answer'
  /** The `storage` option threw (see `cause`), or other processes kept changing the store. */
  | 'storage_failed'
  /** Aborted by a later sign-in or sign-out, in this or another tab. */
  | 'superseded'
  /** The browser did not keep the cookie of the sign-in. The message says why. */
  | 'cookie_dropped'
  /** The client's `dispose` was called, before or during the call. */
  | 'disposed'
  /** The access token is sent only to the origins of `baseUrl` and `origins`. */
  | 'origin_not_configured'

/** The reasons that end the session. After any other error the session stays, and the client tries again. */
export type DefinitiveReason =
  | 'session_expired'
  | 'session_revoked'
  | 'refresh_token_missing'
  | 'refresh_token_malformed'
  | 'refresh_token_reused'

/** Every error of the client. Switch on `reason`: `message` is for people and may change. */
export class AuthClientError extends Error {
  override readonly name = 'AuthClientError'
  readonly reason: Reason | ClientReason
  /** `<familyId>:<seq>` of the event that ended the session; null when the server names none. */
  readonly incidentId: string | null
  /** Seconds to wait before the next try, as the server asks; null when it does not. */
  readonly retryAfterSeconds: number | null

  constructor(reason: Reason | ClientReason, details: ErrorDetails = {}) {
    super(details.message ?? reason, details)
    this.reason = reason
    this.incidentId = details.incidentId ?? null
    this.retryAfterSeconds = details.retryAfterSeconds ?? null
  }
}

/** `cause` is that of `ErrorOptions`. */
export type ErrorDetails = {
  readonly message?: string | undefined
  readonly incidentId?: string | undefined
  readonly retryAfterSeconds?: number | undefined
  readonly cause?: unknown
}

type Definitive = AuthClientError & { readonly reason: DefinitiveReason }

/** Whether the error ends the session. */
export function isDefinitive(error: unknown): error is Definitive {
  return error instanceof AuthClientError && Object.hasOwn(definitive, error.reason)
}

const definitive = {
  session_expired: true,
  session_revoked: true,
  refresh_token_missing: true,
  refresh_token_malformed: true,
  refresh_token_reused: true,
} satisfies Record<DefinitiveReason, true>

const transient = new Set<AuthClientError['reason']>([
  'network_error',
  'timeout',
  'unreadable_answer',
  'storage_failed',
  'internal_error',
  'service_unavailable',
])

/** Whether the same request may succeed within a second or so. */
export function isTransient(error: AuthClientError): boolean {
  return transient.has(error.reason) && (error.retryAfterSeconds ?? 0) <= 1
}

export function toAuthClientError(error: unknown): AuthClientError {
  return error instanceof AuthClientError
    ? error
    : new AuthClientError('network_error', { cause: error })
}

/** Whether the same request will never succeed: a noted sign-out is then given up, so that the next sign-in works. */
export function isPermanent(error: AuthClientError): boolean {
  return !isTransient(error) && !error.retryAfterSeconds
}
