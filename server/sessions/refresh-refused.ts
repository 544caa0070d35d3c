import type { LockedFamily } from '../../db/ledger/event-rows.ts'
import { AuthError } from '../errors.ts'
import type { Refusal } from '../ledger/decide.ts'
import type { LedgerEvent } from '../ledger/events.ts'
import type { Family } from '../ledger/family.ts'
import type { RefreshToken } from '../tokens/refresh-token.ts'
import type { SecurityEvent } from '../observability/security-log.ts'

/** A refresh that the rotation rules refused. */
export class RefreshRefused extends AuthError {
  /** The family has ended: no token of it that the client holds will work again. */
  readonly isFinal: boolean

  constructor(reason: Refusal, isFinal: boolean, details: { detail: string; incidentId?: string }) {
    const { detail, incidentId } = details
    super(reason, detail, {
      incidentId,
      retryAfterSeconds: reason === 'too_many_attempts' ? 60 : undefined,
    })
    this.isFinal = isFinal
  }
}

/** A refusal, with the family if it is known and the event that records the refusal, if there is one. */
export type Refused = {
  readonly refusal: AuthError
  readonly family: LockedFamily | null
  readonly event: LedgerEvent | null
  /** The token is authentic but newer than the ledger, which was probably restored from a backup. */
  readonly isAhead?: { readonly currentGeneration: number | null }
}

/** The refusal. If the family has ended, it names the incident: the event that ended the family. */
export function toRefusal(
  refusal: Refusal,
  { row, family, event }: { row: LockedFamily; family: Family; event: LedgerEvent | null },
): RefreshRefused {
  const end = family.end ?? (event?.kind === 'reuse_detected' ? event : null)
  const isFinal =
    end !== null || refusal === 'session_expired' || refusal === 'refresh_token_malformed'
  return new RefreshRefused(refusal, isFinal, {
    detail: `family ${row.familyId} at generation ${family.current.generation}: ${refusal}`,
    ...(end !== null && { incidentId: `${row.familyId}:${end.seq}` }),
  })
}

/**
 * For an authentic token whose family is not in the ledger: the ledger was restored from a backup, or the
 * family was archived.
 */
export function unknownFamily(): Refused {
  const refusal = new RefreshRefused('session_revoked', false, { detail: 'unknown family' })
  return { refusal, family: null, event: null, isAhead: { currentGeneration: null } }
}

/** For a client that no longer waits: nothing was decided. */
export function abandoned(): Refused {
  const details = { retryAfterSeconds: 1 }
  const refusal = new AuthError('service_unavailable', 'the client no longer waits', details)
  return { refusal, family: null, event: null }
}

/** The security event of a refusal; null for a refusal that is not security-relevant. */
export function securityEventOf(
  { event, family, isAhead }: Refused,
  { familyId, generation }: RefreshToken,
  ip: string | null,
): SecurityEvent | null {
  const userId = family?.userId ?? null
  if (event?.kind === 'reuse_detected' && userId !== null)
    return { event: 'reuse_detected', familyId, userId, ip }
  if (isAhead === undefined) return null
  const { currentGeneration } = isAhead
  const presentedGeneration = generation
  return {
    event: 'token_ahead_of_ledger',
    familyId,
    userId,
    presentedGeneration,
    currentGeneration,
    ip,
  }
}
