import type { Credential } from './credential.ts'

/** A credential whose code is loaded with its first use. A failed load is tried again with the next use. */
export function lazyCredential(load: () => Promise<Credential>): Credential {
  let loading: Promise<Credential> | null = null
  const loaded = () =>
    (loading ??= load().catch((error: unknown) => {
      loading = null
      throw error
    }))
  return {
    login: async (input, signal) => (await loaded()).login(input, signal),
    register: async (input, signal) => (await loaded()).register(input, signal),
    refresh: async (signal, ask) => (await loaded()).refresh(signal, ask),
    noteSignOut: async (everywhere) => (await loaded()).noteSignOut(everywhere),
    isSigningOut: async () => (await loaded()).isSigningOut(),
    signOut: async () => (await loaded()).signOut(),
  }
}
