import { createContext, useContext, useSyncExternalStore } from 'react'
import type { User } from '../auth-api.ts'
import type { AuthClient } from '../public-types.ts'
import type { Session } from '../session.ts'

export const AuthContext = createContext<AuthClient | null>(null)

/** The client of the nearest `AuthProvider`. */
export function useAuth(): AuthClient {
  const auth = useContext(AuthContext)
  if (auth === null) throw new Error('Render this component inside of <AuthProvider auth={…}>.')
  return auth
}

/** The current session. On a server, and until the page has taken over its markup, it is `auth.initial`. */
export function useSession(): Session {
  return useSelected((session) => session)
}

/** The signed-in user; null otherwise. Does not render again while the user stays the same. */
export function useUser(): User | null {
  return useSelected((session) => (session.status === 'signed-in' ? session.user : null))
}

/** Renders again only when the status changes. */
export function useStatus(): Session['status'] {
  return useSelected((session) => session.status)
}

/** Null unless signed in. */
export function useUserId(): string | null {
  return useSelected((session) => (session.status === 'signed-in' ? session.user.id : null))
}

function useSelected<T>(select: (session: Session) => T): T {
  const auth = useAuth()
  return useSyncExternalStore(
    // oxlint-disable-next-line typescript/unbound-method -- a closure, and the same one at each render
    auth.subscribe,
    () => select(auth.session),
    () => select(auth.initial),
  )
}
