import { TRPCError } from '@trpc/server'
import { accessTokenMessages } from './verifier/failure.ts'

/**
 * Every public error. Clients switch on the reason; `message` is for people and may change. Add a row
 * here before throwing a new one.
 */
export const authErrors = {
  validation_failed: { trpc: 'BAD_REQUEST', message: 'The request is not valid.' },
  invalid_credentials: {
    trpc: 'UNAUTHORIZED',
    message: 'The e-mail address or the password is wrong.',
  },
  /** A sign-in that was proved elsewhere: by a caller without SIGN_IN_TOKEN, sent twice, or of a user who may not. */
  sign_in_refused: { trpc: 'UNAUTHORIZED', message: 'The sign-in was refused.' },
  refresh_token_missing: { trpc: 'UNAUTHORIZED', message: 'The refresh token is missing.' },
  /** Forged or foreign: its MAC does not match, or no rotation of its family issued it. */
  refresh_token_malformed: { trpc: 'UNAUTHORIZED', message: 'The refresh token is not valid.' },
  session_expired: { trpc: 'UNAUTHORIZED', message: 'The session has expired. Sign in again.' },
  session_revoked: { trpc: 'UNAUTHORIZED', message: 'The session was ended. Sign in again.' },
  /** RFC 9700 §4.14.2: reuse of a spent refresh token revokes its family. */
  refresh_token_reused: {
    trpc: 'UNAUTHORIZED',
    message: 'A spent refresh token was used again, so the session was ended. Sign in again.',
  },
  transport_mismatch: {
    trpc: 'UNAUTHORIZED',
    message: 'The refresh token was issued for the other transport: cookie or body.',
  },
  /** RFC 6750 §3.1: no error code is sent when the request carries no token. */
  access_token_missing: { trpc: 'UNAUTHORIZED', message: accessTokenMessages.access_token_missing },
  access_token_invalid: { trpc: 'UNAUTHORIZED', message: accessTokenMessages.access_token_invalid },
  access_token_expired: { trpc: 'UNAUTHORIZED', message: accessTokenMessages.access_token_expired },
  access_token_revoked: { trpc: 'UNAUTHORIZED', message: accessTokenMessages.access_token_revoked },
  /** RFC 9470: the token is valid, but the user authenticated too long ago for this call. */
  step_up_required: { trpc: 'UNAUTHORIZED', message: accessTokenMessages.step_up_required },
  origin_not_allowed: { trpc: 'FORBIDDEN', message: 'Requests from this origin are not allowed.' },
  role_required: { trpc: 'FORBIDDEN', message: 'The admin role is required.' },
  registration_closed: { trpc: 'FORBIDDEN', message: 'Registration is closed.' },
  not_found: { trpc: 'NOT_FOUND', message: 'Not found.' },
  email_taken: { trpc: 'CONFLICT', message: 'An account with this e-mail address already exists.' },
  unsupported_media_type: {
    trpc: 'UNSUPPORTED_MEDIA_TYPE',
    message: 'The body must be application/json.',
  },
  payload_too_large: { trpc: 'PAYLOAD_TOO_LARGE', message: 'The request is too large.' },
  too_many_attempts: { trpc: 'TOO_MANY_REQUESTS', message: 'Too many attempts. Try again later.' },
  internal_error: { trpc: 'INTERNAL_SERVER_ERROR', message: 'An internal error occurred.' },
  /** Nothing was changed, or a retry with the same `attemptId` gets the same answer. */
  service_unavailable: {
    trpc: 'SERVICE_UNAVAILABLE',
    message: accessTokenMessages.service_unavailable,
  },
} as const satisfies Record<string, { trpc: TRPCError['code']; message: string }>

export type Reason = keyof typeof authErrors

/** What an error may carry in addition to its reason. */
export type ErrorExtras = {
  /** `<familyId>:<seq>` of the event that ended the session. */
  readonly incidentId?: string | undefined
  /** Whole seconds; also sent as the `Retry-After` header. */
  readonly retryAfterSeconds?: number | undefined
  /** With `step_up_required`: how long ago the user may have authenticated. */
  readonly maxAgeSeconds?: number | undefined
  /** What is wrong with the input or the origin, for people who can change it; sent in place of the message. */
  readonly problem?: string | undefined
  /** The account of a refused sign-in, as a keyed hash; for the log alone. */
  readonly accountHash?: string | undefined
}

/**
 * An error whose reason the caller may see. `detail` says what exactly happened: it is logged, never sent,
 * and must not contain a secret.
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

/** @param problem names the input field and the rule, never a value: it is sent and logged */
export function invalid(problem: string): AuthError {
  return new AuthError('validation_failed', problem, { problem })
}
