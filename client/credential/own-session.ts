import { AuthClientError } from '../errors.ts'
import type { Notes } from './notes.ts'

/** The note of which session the pages of this origin began. */
export type OwnSession = {
  /**
   * The session that a refresh may continue; null for any.
   *
   * @throws {AuthClientError} `refresh_token_missing` when there is none
   */
  expected(): string | null
  begun(familyId: string): void
  /** @throws {AuthClientError} `refresh_token_missing` when the refreshed session is not to be taken up */
  continued(familyId: string, expected: string | null): void
  ended(familyId: string | null): void
}

/**
 * Another host of the site can set a cookie for this service with a session of its own user (cookie tossing). So a page
 * continues the session that is noted for its origin, and no other. Outside of browsers there is no such host.
 *
 * @param adopts the option `adoptForeignSession`
 */
export function ownSession(notes: Notes, adopts: boolean | Date): OwnSession {
  // Its value is not read, which throws where the browser forbids storage.
  const adoptsAny = adopts === true || !('localStorage' in globalThis)
  return {
    expected() {
      if (adoptsAny) return null
      const familyId = notes.get('family')
      if (familyId === null && adopts === false) throw new AuthClientError('refresh_token_missing')
      return familyId
    },
    begun: (familyId) => notes.set('family', familyId),
    continued(familyId, expected) {
      if (familyId === expected) return
      const isAdopted = adoptsAny || (adopts instanceof Date && beganAt(familyId) < +adopts)
      if (!isAdopted) throw new AuthClientError('refresh_token_missing')
      notes.set('family', familyId)
    },
    ended(familyId) {
      // A sign-in of another tab may have noted its session meanwhile.
      if (familyId === notes.get('family')) notes.remove('family')
    },
  }
}

/** Epoch ms. A session's id is a UUIDv7, which begins with its time (RFC 9562 §5.7). */
function beganAt(familyId: string): number {
  return Number.parseInt(familyId.replace('-', '').slice(0, 12), 16)
}
