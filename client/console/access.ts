import { useSyncExternalStore } from 'react'
import { useUser } from '../react/index.ts'

let lostBy: string | null = null
const listeners = new Set<() => void>()

/** The person who was an admin when the page was loaded, and is none any more by an answer of the service. */
export function loseAdminRole(userId: string | null): void {
  lostBy = userId
  for (const listener of listeners) listener()
}

/** Whether the screens of admins may be shown, and whether that ended while the page was open. */
export function useAccess(): { readonly isAdmin: boolean; readonly hasLostRole: boolean } {
  const user = useUser()
  const lost = useSyncExternalStore(subscribe, () => lostBy)
  const hasLostRole = user !== null && user.id === lost
  return { isAdmin: user?.role === 'admin' && !hasLostRole, hasLostRole }
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener)
  return () => void listeners.delete(listener)
}
