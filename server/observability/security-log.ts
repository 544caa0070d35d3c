import type { TRPCError } from '@trpc/server'
import type { FastifyBaseLogger } from 'fastify'
import type { ReplayReason, RevocationReason } from '../ledger/events.ts'
import { AuthError, type Reason } from '../errors.ts'

/**
 * A security-relevant event (OWASP ASVS 5.0, 16.3). It never holds a secret, a hash or a token. Users are named by the
 * ledger's ids; the log has their subjects instead. An event that may come before the user's first session, with which
 * the ledger keeps the subject, has it beside the id.
 */
export type SecurityEvent =
  | {
      readonly event: 'session_started' | 'session_reauthenticated' | 'reuse_detected'
      readonly familyId: string
      readonly userId: string
      readonly ip: string | null
    }
  | {
      /** `isElsewhere`: from another network than the rotation that is repeated, which came from `rotationIp`. */
      readonly event: 'session_replayed'
      readonly familyId: string
      readonly userId: string
      readonly reason: ReplayReason
      readonly ip: string | null
      readonly rotationIp: string | null
      readonly isElsewhere: boolean
    }
  | {
      /** Generations in a row were replayed from elsewhere. The session goes on. */
      readonly event: 'replays_elsewhere'
      readonly familyId: string
      readonly userId: string
      readonly incidentId: string
      readonly ip: string | null
      readonly userAgent: string | null
      readonly rotationIp: string | null
      readonly rotationUserAgent: string | null
    }
  | {
      readonly event: 'session_revoked'
      readonly familyId: string
      readonly userId: string
      readonly reason: RevocationReason
      readonly actorUserId: string | null
      /** Of the caller whose act it was. */
      readonly ip: string | null
    }
  | {
      /**
       * An authentic refresh token whose generation, or whose family (`currentGeneration` is null), is
       * not in the ledger: the ledger was restored from a backup, or the family was archived.
       */
      readonly event: 'token_ahead_of_ledger'
      readonly familyId: string
      readonly userId: string | null
      readonly presentedGeneration: number
      readonly currentGeneration: number | null
      readonly ip: string | null
    }
  | {
      readonly event: 'sign_in_refused'
      readonly reason: Reason
      /** Null where no account has the address. */
      readonly userId: string | null
      readonly subject?: string | undefined
      /** The same for each attempt at one address, whether an account has it or not. */
      readonly accountHash: string
      readonly ip: string | null
    }
  | {
      /** A call that breaks a security rule. Missing or expired tokens and invalid input are not reported. */
      readonly event: 'call_refused'
      readonly procedure: string
      readonly reason: Reason
      /** Of the account whose password may not be checked now; as in `sign_in_refused`. */
      readonly accountHash?: string
      readonly ip: string | null
    }
  | {
      /** A permitted call by an admin. What it changed is in `token_audit`, with the reason given. */
      readonly event: 'admin_called'
      readonly procedure: string
      readonly actorUserId: string
      readonly ip: string | null
    }
  | {
      readonly event: 'user_registered' | 'password_changed'
      readonly userId: string
      readonly subject?: string
      readonly ip: string | null
    }
  | {
      /** This process has added so many rows to the ledger for one user in an hour. */
      readonly event: 'ledger_rows_exceeded'
      readonly userId: string
      readonly rows: number
      readonly ip: string | null
    }
  | {
      /** This process answers most requests of the network with 429, unread. At most once a minute for each network. */
      readonly event: 'network_flooding'
      readonly network: string
      readonly ip: string
    }

export type LogSecurityEvent = (event: SecurityEvent) => void

/**
 * Defence in depth: no log line contains these fields today. pino redacts them in case a request, a body or
 * headers are logged in the future.
 */
const secretKeys = ['authorization', 'cookie', 'password', 'currentPassword', 'newPassword']
  .concat(['refreshToken', 'accessToken', 'authSecret'])
  .map((name) => `.${name}`)
  .concat('["set-cookie"]')

/** For pino: these keys at up to three levels, such as `req.headers.cookie`. */
export const redact = {
  paths: secretKeys.flatMap((key) => [key.replace(/^\./, ''), `*${key}`, `*.*${key}`]),
  censor: '[redacted]',
}

/** Logs an error of which the caller at `ip` got only the public part. */
export type ReportError = (error: TRPCError, procedure: string, ip: string | null) => void

/** Refusals that are security events (ASVS 5.0, 16.3.2 and 16.3.3). */
const suspicious: ReadonlySet<Reason> = new Set<Reason>([
  'access_token_invalid',
  'access_token_revoked',
  'origin_not_allowed',
  'refresh_token_malformed',
  'role_required',
  'sign_in_refused',
  'too_many_attempts',
  'transport_mismatch',
])

/** Where a user's subject comes from. It is a promise only where the database has to be asked. */
export type Subjects = {
  of(
    ledgerIds: readonly string[],
  ): ReadonlyMap<string, string> | Promise<ReadonlyMap<string, string>>
}

/** The users whom the event names. */
type Named = {
  readonly userId?: string | null
  readonly subject?: string | undefined
  readonly actorUserId?: string | null
}

/** The ids whose subjects are not in the event. */
function unnamedIn({ userId, subject, actorUserId }: Named): string[] {
  return [subject === undefined ? userId : null, actorUserId].filter((id) => typeof id === 'string')
}

/** The event with the subjects of its users. */
function naming(
  { subject, ...event }: SecurityEvent & Named,
  subjects: ReadonlyMap<string, string>,
): object {
  const { userId, actorUserId } = event
  return {
    ...event,
    ...(userId && { userId: subject ?? subjects.get(userId) ?? userId }),
    ...(actorUserId && { actorUserId: subjects.get(actorUserId) ?? actorUserId }),
  }
}

/** Security events that are logged as warnings. */
const alarming: ReadonlySet<SecurityEvent['event']> = new Set<SecurityEvent['event']>([
  'ledger_rows_exceeded',
  'network_flooding',
  'replays_elsewhere',
  'reuse_detected',
  'token_ahead_of_ledger',
])

/**
 * Writes security events, and errors of which the caller got only the public part, as one JSON line each.
 *
 * @param options.count is called with each security event as well
 * @param options.subjects of ledger ids; an id without one is logged as it is
 */
export function createSecurityLog(
  log: FastifyBaseLogger,
  { count, subjects }: { count: LogSecurityEvent; subjects: Subjects },
): { logSecurityEvent: LogSecurityEvent; reportError: ReportError } {
  const logSecurityEvent = (event: SecurityEvent & Named) => {
    count(event)
    const write = (known: ReadonlyMap<string, string>) =>
      log[alarming.has(event.event) ? 'warn' : 'info'](naming(event, known))
    const known = subjects.of(unnamedIn(event))
    if (known instanceof Promise) known.then(write, () => write(new Map()))
    else write(known)
  }
  return {
    logSecurityEvent,
    reportError: (error, procedure, ip) => {
      if (error instanceof AuthError && suspicious.has(error.reason)) {
        const { reason, extras } = error
        const { accountHash } = extras
        const account = accountHash === undefined ? {} : { accountHash }
        logSecurityEvent({ event: 'call_refused', procedure, reason, ...account, ip })
      }
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
 * The parts of an unexpected error that may be logged. Messages of libraries quote values: drizzle the
 * parameters of a query, `JSON.parse` the body. Plain Errors are thrown by this code and name no secret.
 */
export function describeError(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { error: typeof error }
  const isPlainError = Object.getPrototypeOf(error) === Error.prototype
  return {
    error: error.name,
    ...(isPlainError && { message: error.message }),
    ...('code' in error && { code: error.code }),
    stack: error.stack?.split('\n').filter((line) => /^\s+at /.test(line)),
    ...(error.cause instanceof Error && { cause: describeError(error.cause) }),
  }
}
