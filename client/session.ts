import type { Grant, User } from './auth-api.ts'
import type { AuthClientError, DefinitiveReason } from './errors.ts'

/** What is known of the session; a new object at each change, so that `===` tells. */
export type Session = Unknown | SignedOut | SignedIn

/** Not asked yet, or the server could not be reached yet: show neither a form nor a page. */
export type Unknown = { readonly status: 'unknown'; readonly problem: Problem | null }

export type SignedOut = {
  readonly status: 'signed-out'
  /** `logout` by the user here or in another tab; `refresh_token_missing` also when nobody was signed in. */
  readonly reason: 'logout' | DefinitiveReason
  /** `<familyId>:<seq>`: what support asks for. */
  readonly incidentId: string | null
}

export type SignedIn = {
  readonly status: 'signed-in'
  readonly user: User
  readonly familyId: string
  /** Epoch milliseconds by this device's clock: for a countdown, not for a decision. */
  readonly accessTokenExpiresAt: number
  /** ISO, by the server's clock: without a refresh until then the session ends. */
  readonly refreshExpiresAt: string
  /** Why the last refresh failed; it is being tried again. */
  readonly problem: Problem | null
}

export type Problem = AuthClientError['reason']
export type Listener = (session: Session) => void

export function createSessionState() {
  let session: Session = { status: 'unknown', problem: null }
  const listeners = new Set<Listener>()
  return {
    get: () => session,
    set(next: Session): void {
      session = next
      for (const listener of listeners) listener(next)
    },
    /** Says why the session could not be refreshed; it stays. */
    note(problem: Problem): void {
      if (session.status !== 'signed-out') this.set({ ...session, problem })
    },
    /** Calls back at once and at each change. @returns to be called when no longer wanted */
    subscribe(listener: Listener): () => void {
      // A function of its own each time: the same listener may be given twice.
      const own: Listener = (next) => listener(next)
      listeners.add(own)
      listener(session)
      return () => void listeners.delete(own)
    },
    clear: () => listeners.clear(),
  }
}

export function signedIn({ user, familyId, refreshExpiresAt, expiresIn }: Grant): SignedIn {
  const accessTokenExpiresAt = Date.now() + expiresIn * 1000
  return {
    status: 'signed-in',
    user,
    familyId,
    accessTokenExpiresAt,
    refreshExpiresAt,
    problem: null,
  }
}

export function familyIdOf(session: Session): string | null {
  return session.status === 'signed-in' ? session.familyId : null
}
