import { useSyncExternalStore } from 'react'
import { useUser } from '../react/index.ts'
import type { AuthClient } from '../index.ts'

type User = ReturnType<typeof useUser>

/** As the session named this person when the service refused them as an admin. */
let refused: User = null
const listeners = new Set<() => void>()

/** Remembers that the signed-in person is no admin any more, until the session says otherwise. */
export function noteLostRole({ session }: AuthClient): void {
  setRefused(session.status === 'signed-in' ? session.user : null)
}

export function forgetLostRole(): void {
  setRefused(null)
}

/** Whether the screens of admins may be shown, and whether that ended while the page was open. */
export function useAccess(): { readonly isAdmin: boolean; readonly hasLostRole: boolean } {
  const user = useUser()
  const lost = useSyncExternalStore(subscribe, () => refused)
  // The session's user is another object once its role has changed: also when it is admin again.
  const isAdmin = user !== null && user.role === 'admin' && user !== lost
  return { isAdmin, hasLostRole: !isAdmin && user !== null && lost?.id === user.id }
}

function setRefused(user: User): void {
  refused = user
  for (const listener of listeners) listener()
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener)
  return () => void listeners.delete(listener)
}
