import { TRPCError } from '@trpc/server'
import { accessTokenMessages } from './verifier/failure.ts'

/**
 * Every error a caller can be shown. Clients switch on the reason; `message` is for people and may
 * change. Add a row here before throwing a new one.
 */
export const authErrors = {
  validation_failed: { trpc: 'BAD_REQUEST', message: 'The request is not valid.' },
  invalid_credentials: { trpc: 'UNAUTHORIZED', message: 'The e-mail or the password is wrong.' },
  refresh_token_missing: { trpc: 'UNAUTHORIZED', message: 'There is no refresh token.' },
  /** Not issued by us: its MAC is not ours, or no rotation of ours made it. */
  refresh_token_malformed: { trpc: 'UNAUTHORIZED', message: 'This is no refresh token of ours.' },
  session_expired: { trpc: 'UNAUTHORIZED', message: 'The session has expired. Sign in again.' },
  session_revoked: { trpc: 'UNAUTHORIZED', message: 'The session was ended. Sign in again.' },
  /** RFC 9700 §4.14.2: the family of a replayed refresh token is revoked. */
  refresh_token_reused: {
    trpc: 'UNAUTHORIZED',
    message: 'The session was ended because a spent refresh token came back. Sign in again.',
  },
  transport_mismatch: {
    trpc: 'UNAUTHORIZED',
    message: 'The refresh token was presented in another way than it was issued.',
  },
  /** RFC 6750 §3.1: no error code is sent when the request carries no token. */
  access_token_missing: { trpc: 'UNAUTHORIZED', message: accessTokenMessages.access_token_missing },
  access_token_invalid: { trpc: 'UNAUTHORIZED', message: accessTokenMessages.access_token_invalid },
  access_token_expired: { trpc: 'UNAUTHORIZED', message: accessTokenMessages.access_token_expired },
  access_token_revoked: { trpc: 'UNAUTHORIZED', message: accessTokenMessages.access_token_revoked },
  origin_not_allowed: { trpc: 'FORBIDDEN', message: 'This origin may not use this endpoint.' },
  role_required: { trpc: 'FORBIDDEN', message: 'This needs the role admin.' },
  registration_closed: { trpc: 'FORBIDDEN', message: 'Registration is closed.' },
  not_found: { trpc: 'NOT_FOUND', message: 'There is no such thing.' },
  email_taken: { trpc: 'CONFLICT', message: 'This e-mail has an account already.' },
  unsupported_media_type: {
    trpc: 'UNSUPPORTED_MEDIA_TYPE',
    message: 'The body must be application/json.',
  },
  payload_too_large: { trpc: 'PAYLOAD_TOO_LARGE', message: 'The request is too large.' },
  too_many_attempts: { trpc: 'TOO_MANY_REQUESTS', message: 'Too many attempts. Try again later.' },
  internal_error: { trpc: 'INTERNAL_SERVER_ERROR', message: 'Something went wrong here.' },
  /** Nothing was changed, or a retry with the same `attemptId` gets the same answer. */
  service_unavailable: {
    trpc: 'SERVICE_UNAVAILABLE',
    message: accessTokenMessages.service_unavailable,
  },
} as const satisfies Record<string, { trpc: TRPCError['code']; message: string }>

export type Reason = keyof typeof authErrors

/** What an error may say beside its reason; all of it is sent. */
export type ErrorExtras = {
  /** `<familyId>:<seq>` of the event that ended the session. */
  readonly incidentId?: string | undefined
  /** Whole seconds; also sent as the `Retry-After` header. */
  readonly retryAfterSeconds?: number | undefined
  /** What is wrong with the input, in words for the person who typed it; sent as the message. */
  readonly problem?: string | undefined
}

/**
 * A refusal the caller may see. `detail` says what really happened: it is logged and never sent,
 * and must not hold a secret.
 */
export class AuthError extends TRPCError {
  readonly reason: Reason
  readonly detail: string
  readonly extras: ErrorExtras

  constructor(reason: Reason, detail: string, extras: ErrorExtras = {}) {
    super({ code: authErrors[reason].trpc, message: authErrors[reason].message })
    this.name = 'AuthError'
    this.reason = reason
    this.detail = detail
    this.extras = extras
  }
}
