import type { TRPCError } from '@trpc/server'
import type { FastifyBaseLogger } from 'fastify'
import type { RevocationReason } from '../ledger/events.ts'
import { AuthError, type Reason } from '../errors.ts'

/** One security-relevant event, typed (OWASP ASVS 5.0, 16.3). Never a secret, hash or token. */
export type SecurityEvent =
  | { readonly event: 'session_started'; readonly familyId: string; readonly userId: string }
  | {
      readonly event: 'session_replayed' | 'reuse_detected'
      readonly familyId: string
      readonly userId: string
    }
  | {
      readonly event: 'session_revoked'
      readonly familyId: string
      readonly userId: string
      readonly reason: RevocationReason
      readonly actorUserId: string | null
    }
  | {
      /**
       * An authentic refresh token of a generation, or of a family (`currentGeneration` is null), that
       * the ledger does not know: it was restored from a copy, or the family was archived.
       */
      readonly event: 'token_ahead_of_ledger'
      readonly familyId: string
      readonly userId: string | null
      readonly presentedGeneration: number
      readonly currentGeneration: number | null
    }
  | { readonly event: 'sign_in_refused'; readonly reason: Reason; readonly ip: string | null }
  | {
      /** One that breaks a rule, or tries to: what is missing, late or misspelt is no such call. */
      readonly event: 'call_refused'
      readonly procedure: string
      readonly reason: Reason
      readonly ip: string | null
    }
  | {
      /** By an admin, who may. What it changed is in `token_audit` with the reason given. */
      readonly event: 'admin_called'
      readonly procedure: string
      readonly actorUserId: string
      readonly ip: string | null
    }
  | {
      readonly event: 'user_registered' | 'password_changed'
      readonly userId: string
      readonly ip: string | null
    }

export type LogSecurityEvent = (event: SecurityEvent) => void

/** What no line holds anyway; censored for the day that somebody logs a request, a body or headers. */
const secretKeys = ['authorization', 'cookie', 'password', 'currentPassword', 'newPassword']
  .concat(['refreshToken', 'accessToken', 'authSecret'])
  .map((name) => `.${name}`)
  .concat('["set-cookie"]')

/** For pino: as deep as `req.headers.cookie`. */
export const redact = {
  paths: secretKeys.flatMap((key) => [key.replace(/^\./, ''), `*${key}`, `*.*${key}`]),
  censor: '[redacted]',
}

/** Logs an error that a caller at `ip` was shown the public face of. */
export type ReportError = (error: TRPCError, procedure: string, ip: string | null) => void

/** Refusals that are facts (ASVS 5.0, 16.3.2 and 16.3.3). */
const suspicious: ReadonlySet<Reason> = new Set<Reason>([
  'access_token_invalid',
  'access_token_revoked',
  'origin_not_allowed',
  'refresh_token_malformed',
  'role_required',
  'too_many_attempts',
  'transport_mismatch',
])

/**
 * Writes facts, and errors whose public face a caller was shown, as one JSON line each.
 *
 * @param count is told each fact, too
 */
export function createSecurityLog(
  log: FastifyBaseLogger,
  count: LogSecurityEvent,
): { logSecurityEvent: LogSecurityEvent; reportError: ReportError } {
  const logSecurityEvent: LogSecurityEvent = (event) => {
    count(event)
    if (event.event === 'reuse_detected' || event.event === 'token_ahead_of_ledger') log.warn(event)
    else log.info(event)
  }
  return {
    logSecurityEvent,
    reportError: (error, procedure, ip) => {
      if (error instanceof AuthError && suspicious.has(error.reason))
        logSecurityEvent({ event: 'call_refused', procedure, reason: error.reason, ip })
      if (error instanceof AuthError && error.reason !== 'internal_error') {
        const level = error.reason === 'service_unavailable' ? 'warn' : 'debug'
        log[level]({ procedure, reason: error.reason, detail: error.detail }, 'refused')
      } else if (error.code === 'INTERNAL_SERVER_ERROR') {
        log.error({ procedure, ...describeError(error.cause ?? error) }, 'internal error')
      }
    },
  }
}

/**
 * What a log may hold of an unexpected error. Messages of libraries quote values: drizzle's the
 * parameters of the query, `JSON.parse`'s the body. Our own are plain Errors, and name no secret.
 */
export function describeError(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { error: typeof error }
  const isOurs = Object.getPrototypeOf(error) === Error.prototype
  return {
    error: error.name,
    ...(isOurs && { message: error.message }),
    ...('code' in error && { code: error.code }),
    stack: error.stack?.split('\n').filter((line) => /^\s+at /.test(line)),
    ...(error.cause instanceof Error && { cause: describeError(error.cause) }),
  }
}
