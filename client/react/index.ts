'use client'

/**
 * `@token-ledger/client/react`: the session of an `AuthClient` in React 18.2 and later.
 *
 * @module
 * @example
 * createRoot(root).render(
 *   <AuthProvider auth={auth} fallback={<Spinner />}>
 *     <SignedIn><Orders /></SignedIn>
 *     <SignedOut><SignInForm /></SignedOut>
 *   </AuthProvider>,
 * )
 */
export { AuthProvider, SignedIn, SignedOut, type AuthProviderProps } from './provider.ts'
export { useAuth, useSession, useUser } from './hooks.ts'
export { connectQueryClient, type QueryClientLike } from './query-client.ts'
