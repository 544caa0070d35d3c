import { isDefinitive, isTransient, toAuthClientError, type AuthClientError } from '../errors.ts'
import { serviceFor } from './person.ts'
import type { Incoming, ServerSessionOptions } from './public-types.ts'
import { heldOf, isDue, type Found, type Held } from './session-cookie.ts'

/** A page asks for many things at once, and all of its requests carry the cookie from before the rotation. */
const keptMs = 30_000
const maxKept = 1_000
/** A lost answer costs one more request. After a timeout, the visitor has waited long enough. */
const maxTries = 2

/**
 * Rotates the refresh token of a cookie. The id of the attempt is derived from the token, so every request with this
 * cookie makes the same attempt, in any process and however late, and gets the same successor (docs/reference/rotation.md,
 * rule 5). What was renewed lately is kept, because the service repeats an answer only 20 times.
 */
export function createRenewal(options: ServerSessionOptions) {
  // Results and not promises: at the edge, a request cannot wait for a promise of another one.
  const renewed = new Map<string, { readonly held: Held; readonly at: number }>()

  function known(attemptId: string): Held | null {
    const entry = renewed.get(attemptId)
    const isFresh = entry !== undefined && Date.now() - entry.at < keptMs && !isDue(entry.held)
    return isFresh ? entry.held : null
  }

  function keep(attemptId: string, held: Held): void {
    renewed.delete(attemptId)
    renewed.set(attemptId, { held, at: Date.now() })
    for (const [id, { at }] of renewed) {
      if (Date.now() - at < keptMs && renewed.size <= maxKept) break
      renewed.delete(id)
    }
  }

  return {
    async renew(request: Incoming, { held, attemptId }: Found): Promise<Held | AuthClientError> {
      const { post } = serviceFor(request, options)
      const { refreshToken } = held
      for (let tries = 1; ; tries += 1) {
        const other = known(attemptId)
        if (other !== null) return other
        try {
          const startedAt = Date.now()
          const next = heldOf(await post('refresh', { refreshToken, attemptId }), startedAt)
          keep(attemptId, next)
          return next
        } catch (cause) {
          const error = toAuthClientError(cause)
          if (isDefinitive(error)) return error
          if (tries < maxTries && isTransient(error) && error.reason !== 'timeout') continue
          // Another request of this process may have succeeded, as when this one was above a limit.
          return known(attemptId) ?? error
        }
      }
    },

    /** Drops what is kept of a session that is signed out. */
    forget(familyId: string): void {
      for (const [id, { held }] of renewed) if (held.familyId === familyId) renewed.delete(id)
    },
  }
}
