import { computed, onScopeDispose, shallowRef, type ComputedRef, type ShallowRef } from 'vue'
import type { AuthClient, Session, SignedIn } from '../../../client/index.ts'

export function useSession(auth: AuthClient): Readonly<ShallowRef<Session>> {
  const session = shallowRef(auth.session)
  onScopeDispose(auth.subscribe((now) => (session.value = now)))
  return session
}

export function useUser(auth: AuthClient): ComputedRef<SignedIn['user'] | null> {
  const session = useSession(auth)
  return computed(() => (session.value.status === 'signed-in' ? session.value.user : null))
}
