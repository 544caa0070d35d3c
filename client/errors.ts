import type { Reason } from '../server/errors.ts'

/** What can go wrong before the server was understood, beside the server's own reasons. */
export type ClientReason =
  /** No answer: offline, refused, or cut off. */
  | 'network_error'
  /** No whole answer in time. */
  | 'timeout'
  /** An answer that is not the service's: a proxy's page, a captive portal, half a body. */
  | 'unreadable_answer'
  /** The caller's `storage` threw; see `cause`. */
  | 'storage_failed'
  /** A sign-in, a sign-out or `dispose` came in between. */
  | 'superseded'
  /** The bearer goes to `baseUrl` and the origins in `origins` alone. */
  | 'origin_not_configured'

/** The only reasons that end a session here; everything else keeps it and is tried again. */
export type DefinitiveReason =
  | 'session_expired'
  | 'session_revoked'
  | 'refresh_token_missing'
  | 'refresh_token_malformed'
  | 'refresh_token_reused'

/** Switch on `reason`; `message` is for people and may change. */
export class AuthClientError extends Error {
  override readonly name = 'AuthClientError'
  readonly reason: Reason | ClientReason
  /** `<familyId>:<seq>` of the event that ended the session, when the server names one. */
  readonly incidentId: string | null
  /** Whole seconds the server asks us to wait. */
  readonly retryAfterSeconds: number | null

  constructor(reason: Reason | ClientReason, details: ErrorDetails = {}) {
    super(details.message ?? reason, details.cause === undefined ? {} : { cause: details.cause })
    this.reason = reason
    this.incidentId = details.incidentId ?? null
    this.retryAfterSeconds = details.retryAfterSeconds ?? null
  }
}

export type ErrorDetails = {
  readonly message?: string | undefined
  readonly incidentId?: string | undefined
  readonly retryAfterSeconds?: number | undefined
  readonly cause?: unknown
}

type Definitive = AuthClientError & { readonly reason: DefinitiveReason }

/** Whether the session is over for good. */
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

/** Whether the next second may bring what this one did not: asking a wrong question again will not. */
export function isTransient(error: AuthClientError): boolean {
  switch (error.reason) {
    case 'network_error':
    case 'timeout':
    case 'unreadable_answer':
    case 'storage_failed':
    case 'internal_error':
    case 'service_unavailable':
      return (error.retryAfterSeconds ?? 0) <= 1
    default:
      return false
  }
}

export function toAuthClientError(error: unknown): AuthClientError {
  return error instanceof AuthClientError
    ? error
    : new AuthClientError('network_error', { cause: error })
}

/** Saying it again will not help, and would stand in the way of the next sign-in. */
export function isPermanent(error: AuthClientError): boolean {
  return !isTransient(error) && (error.retryAfterSeconds ?? 0) === 0
}
