/** Why a call is refused. The token-ledger service itself answers with the same reasons. */
export type AccessTokenReason =
  | 'access_token_missing'
  | 'access_token_invalid'
  | 'access_token_expired'
  /** Only from a verifier that follows revocations. */
  | 'access_token_revoked'
  /** Only where `maxAuthAgeSeconds` is asked for: the user has to authenticate again. */
  | 'step_up_required'

/** The service itself uses the same messages for these reasons. */
export const accessTokenMessages = {
  access_token_missing: 'The access token is missing.',
  access_token_invalid: 'The access token is not valid.',
  access_token_expired: 'The access token has expired.',
  access_token_revoked: 'The session was ended. Sign in again.',
  step_up_required: 'A more recent authentication is required.',
  service_unavailable: 'Not available. Try again soon.',
} as const

/**
 * The request has no valid access token: 401.
 * `detail` says what is wrong, for the log. It is not sent and contains nothing of the token.
 */
export class AccessTokenError extends Error {
  readonly statusCode = 401
  readonly reason: AccessTokenReason
  readonly detail: string
  /** Value of the `WWW-Authenticate` header. */
  readonly wwwAuthenticate: string

  constructor(reason: AccessTokenReason, detail: string) {
    super(accessTokenMessages[reason])
    this.name = 'AccessTokenError'
    this.reason = reason
    this.detail = detail
    this.wwwAuthenticate = challengeFor(reason)
  }
}

/** The token is valid, but the user authenticated too long ago for this call: 401. @see RFC 9470 */
export class StepUpRequiredError extends AccessTokenError {
  override readonly reason = 'step_up_required'
  override readonly wwwAuthenticate: string
  /** How long ago the user may have authenticated. */
  readonly maxAuthAgeSeconds: number

  constructor(maxAuthAgeSeconds: number) {
    super('step_up_required', `authenticated more than ${maxAuthAgeSeconds} s ago`)
    this.name = 'StepUpRequiredError'
    this.maxAuthAgeSeconds = maxAuthAgeSeconds
    this.wwwAuthenticate = stepUpChallenge(maxAuthAgeSeconds)
  }
}

/** It is unknown whether the token is valid: 503. A client should try again and not sign the user out. */
abstract class UnavailableError extends Error {
  readonly statusCode = 503
  readonly reason = 'service_unavailable'
  abstract readonly retryAfterSeconds: number
  abstract readonly detail: string

  constructor(name: string, cause: unknown) {
    super(accessTokenMessages.service_unavailable, { cause })
    this.name = name
  }
}

/** The signing keys could not be fetched. `cause` is the error. */
export class KeysUnavailableError extends UnavailableError {
  readonly retryAfterSeconds = 5
  readonly detail = 'the signing keys could not be fetched'

  constructor(cause: unknown) {
    super('KeysUnavailableError', cause)
  }
}

/** The verifier follows revocations but has lost the feed. `cause` is the error, if it is known. */
export class RevocationsUnavailableError extends UnavailableError {
  readonly retryAfterSeconds = 1
  readonly detail = 'the revocations feed could not be followed'

  constructor(cause: unknown) {
    super('RevocationsUnavailableError', cause)
  }
}

/** The `WWW-Authenticate` value for a request without a token, which gets no error code (RFC 6750 §3.1). */
export const bearerChallenge = 'Bearer realm="token-ledger"'

/** The `WWW-Authenticate` value for a request with a token that is not accepted (RFC 6750 §3). */
export function invalidTokenChallenge(description?: string): string {
  const challenge = `${bearerChallenge}, error="invalid_token"`
  return description === undefined ? challenge : `${challenge}, error_description="${description}"`
}

/** The `WWW-Authenticate` value for a call that needs a more recent authentication (RFC 9470 §3). */
export function stepUpChallenge(maxAuthAgeSeconds: number): string {
  const description = accessTokenMessages.step_up_required
  return (
    `${bearerChallenge}, error="insufficient_user_authentication", ` +
    `error_description="${description}", max_age=${maxAuthAgeSeconds}`
  )
}

function challengeFor(reason: AccessTokenReason): string {
  return reason === 'access_token_missing'
    ? bearerChallenge
    : invalidTokenChallenge(accessTokenMessages[reason])
}

/** The HTTP response for a refused call, in the same envelope as the token-ledger service. */
export type Failure = {
  readonly statusCode: 401 | 503
  readonly code: 'UNAUTHORIZED' | 'SERVICE_UNAVAILABLE'
  readonly reason: AccessTokenReason | 'service_unavailable'
  readonly headers: Readonly<Record<string, string>>
  /** With `step_up_required`: how long ago the user may have authenticated. */
  readonly maxAgeSeconds?: number
  /** JSON: `{"error":{"message","code","data":{"code","httpStatus","reason","retryAfterSeconds"?,"maxAgeSeconds"?}}}`. */
  readonly body: string
}

/**
 * The HTTP response for an error that a verifier threw, even if tRPC has wrapped it; null for any other
 * error. Use it in an adapter of your own or in an error formatter.
 */
export function failureOf(error: unknown): Failure | null {
  if (error instanceof AccessTokenError) {
    const data = {
      code: 'UNAUTHORIZED',
      httpStatus: 401,
      reason: error.reason,
      ...(error instanceof StepUpRequiredError && { maxAgeSeconds: error.maxAuthAgeSeconds }),
    } as const
    const headers = { 'WWW-Authenticate': error.wwwAuthenticate }
    // tRPC's JSON-RPC error numbers for the two codes are -32001 and -32603.
    return failure(data, headers, { message: error.message, code: -32001 })
  }
  if (error instanceof UnavailableError) {
    const { retryAfterSeconds, reason } = error
    const data = {
      code: 'SERVICE_UNAVAILABLE',
      httpStatus: 503,
      reason,
      retryAfterSeconds,
    } as const
    const headers = { 'Retry-After': String(retryAfterSeconds) }
    return failure(data, headers, { message: error.message, code: -32603 })
  }
  return error instanceof Error && error.cause !== undefined ? failureOf(error.cause) : null
}

type FailureData = Pick<Failure, 'code' | 'reason' | 'maxAgeSeconds'> & {
  readonly httpStatus: 401 | 503
}

function failure(
  data: FailureData,
  headers: Readonly<Record<string, string>>,
  shape: { readonly message: string; readonly code: number },
): Failure {
  return {
    statusCode: data.httpStatus,
    code: data.code,
    reason: data.reason,
    ...(data.maxAgeSeconds !== undefined && { maxAgeSeconds: data.maxAgeSeconds }),
    headers: { 'Content-Type': 'application/json', 'Cache-Control': 'no-store', ...headers },
    body: JSON.stringify({ error: { ...shape, data } }),
  }
}
