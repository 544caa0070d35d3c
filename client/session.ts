import type { Grant, User } from './auth-api.ts'
import type { AuthClientError, DefinitiveReason } from './errors.ts'

/** The session as the client knows it. A new object at each change, so `===` detects changes. */
export type Session<Claims = unknown> = Unknown | SignedOut | SignedIn<Claims>

/** Before the first answer of the server: show neither a sign-in form nor the signed-in page. */
export type Unknown = { readonly status: 'unknown'; readonly problem: Problem | null }

export type SignedOut = {
  readonly status: 'signed-out'
  /** `logout`: by the user, in this or another tab. `refresh_token_missing`: there is no session, also at first. */
  readonly reason: 'logout' | DefinitiveReason
  /** `<familyId>:<seq>`: finds the incident in the ledger. Show it, so that users can quote it to support. */
  readonly incidentId: string | null
}

export type SignedIn<Claims = unknown> = {
  readonly status: 'signed-in'
  /** The same object until one of its fields changes. */
  readonly user: User & Claims
  readonly familyId: string
  /** Epoch milliseconds by this device's clock. Use it for display only. */
  readonly accessTokenExpiresAt: number
  /** ISO, by the server's clock. Without a refresh until then, the session expires. */
  readonly refreshExpiresAt: string
  /** Why the last refresh failed; the client keeps trying. Null after a success. */
  readonly problem: Problem | null
}

export type Problem = AuthClientError['reason']
export type SessionListener<Claims = unknown> = (session: Session<Claims>) => void
export type UserListener<Claims = unknown> = (user: (User & Claims) | null) => void

export function createSessionState(initial: Session) {
  let session = initial
  const listeners = new Set<SessionListener>()
  return {
    get: () => session,
    set(next: Session): void {
      session = next
      for (const listener of listeners) listener(next)
    },
    /** Sets why the session could not be refreshed. The session stays. */
    note(problem: Problem): void {
      if (session.status !== 'signed-out') this.set({ ...session, problem })
    },
    /** Calls `listener` now and at each change. @returns a function that unsubscribes */
    subscribe(listener: SessionListener): () => void {
      // A new function each time, because the same listener may subscribe twice.
      const own: SessionListener = (next) => listener(next)
      listeners.add(own)
      listener(session)
      return () => void listeners.delete(own)
    },
    /** Calls `listener` when another person is signed in than before, or none. @returns as `subscribe` */
    onUserChange(listener: UserListener): () => void {
      let before = userIn(session)
      return this.subscribe((next) => {
        const user = userIn(next)
        const isOther = user?.id !== before?.id
        before = user
        if (isOther) listener(user)
      })
    },
    clear: () => listeners.clear(),
  }
}

/** The session of a new client, which has not asked the service yet. */
export function initialSession(user: User | undefined): Session {
  if (user === undefined) return { status: 'unknown', problem: null }
  const known = { familyId: '', accessTokenExpiresAt: 0, refreshExpiresAt: '', problem: null }
  return { status: 'signed-in', user, ...known }
}

export function signedIn(grant: Grant, before: Session): SignedIn {
  const { user, familyId, refreshExpiresAt, expiresIn } = grant
  const accessTokenExpiresAt = Date.now() + expiresIn * 1000
  const known = userIn(before)
  return {
    status: 'signed-in',
    user: known !== null && JSON.stringify(known) === JSON.stringify(user) ? known : user,
    familyId,
    accessTokenExpiresAt,
    refreshExpiresAt,
    problem: null,
  }
}

function userIn(session: Session): User | null {
  return session.status === 'signed-in' ? session.user : null
}

export function familyIdIn(session: Session): string | null {
  return session.status === 'signed-in' ? session.familyId : null
}

export function userIdIn(session: Session): string | null {
  return userIn(session)?.id ?? null
}
