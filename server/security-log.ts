import type { RevocationReason } from './ledger/events.ts'
import type { Reason } from './errors.ts'

/** One typed fact a security-relevant happening (OWASP ASVS 5.0, 16.3). Never a secret, hash or token. */
export type SecurityFact =
  | { readonly fact: 'session_started'; readonly familyId: string; readonly userId: string }
  | {
      readonly fact: 'session_replayed' | 'reuse_detected'
      readonly familyId: string
      readonly userId: string
    }
  | {
      readonly fact: 'session_revoked'
      readonly familyId: string
      readonly userId: string
      readonly reason: RevocationReason
      readonly actorUserId: string | null
    }
  | { readonly fact: 'sign_in_refused'; readonly reason: Reason; readonly ip: string | null }

export type RecordFact = (fact: SecurityFact) => void
