import type { LockedFamily } from '../../db/ledger/event-rows.ts'
import { AuthError } from '../errors.ts'
import type { Refusal } from '../ledger/decide.ts'
import type { LedgerEvent } from '../ledger/events.ts'
import type { Family } from '../ledger/family.ts'
import type { RefreshToken } from '../tokens/refresh-token.ts'
import type { SecurityEvent } from '../observability/security-log.ts'

/** A refresh that was turned away. */
export class RefreshRefused extends AuthError {
  /** The family is known to be over: nothing the caller holds of it will ever work again. */
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

/** A refusal with what is known of the family, and what was written of it. */
export type Refused = {
  readonly refusal: AuthError
  readonly family: LockedFamily | null
  readonly event: LedgerEvent | null
  /** The token is authentic, and newer than anything this ledger knows: it was restored from a copy. */
  readonly isAhead?: { readonly currentGeneration: number | null }
}

/** The refusal, with the incident that a family which is over ended with. */
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

/** Authentic, but of a family that a restored backup does not know, or that was archived. */
export function unknownFamily(): Refused {
  const refusal = new RefreshRefused('session_revoked', false, { detail: 'no such family' })
  return { refusal, family: null, event: null, isAhead: { currentGeneration: null } }
}

/** Nothing was decided. */
export function abandoned(): Refused {
  const details = { retryAfterSeconds: 1 }
  const refusal = new AuthError('service_unavailable', 'nobody waits for it any more', details)
  return { refusal, family: null, event: null }
}

/** What the security log is told of it; null when it is nothing to be told. */
export function securityEventOf(
  { event, family, isAhead }: Refused,
  { familyId, generation }: RefreshToken,
): SecurityEvent | null {
  const userId = family?.userId ?? null
  if (event?.kind === 'reuse_detected' && userId !== null)
    return { event: 'reuse_detected', familyId, userId }
  if (isAhead === undefined) return null
  const { currentGeneration } = isAhead
  const presentedGeneration = generation
  return {
    event: 'token_ahead_of_ledger',
    familyId,
    userId,
    presentedGeneration,
    currentGeneration,
  }
}
