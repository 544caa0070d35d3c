'use client'

import { createAuthClient, type AuthClient, type User } from '@token-ledger/client'
import { AuthProvider, useSession, useUser } from '@token-ledger/client/react'
import { useRouter } from 'next/navigation'
import { useEffect, useState, type ReactNode } from 'react'

let inBrowser: AuthClient | undefined

/** One client for the page; on the server one for each request, because users must not share it. */
function clientFor(user: User | null): AuthClient {
  const make = () =>
    createAuthClient({
      // Never asked on the server, where nothing is restored.
      baseUrl: typeof window === 'undefined' ? 'http://localhost' : location.origin,
      transport: 'cookie',
      // The cookie is the app's own.
      adoptForeignSession: true,
      ...(user !== null && { initial: { user } }),
    })
  return typeof window === 'undefined' ? make() : (inBrowser ??= make())
}

/** The session in the page, which begins as what the server has found. */
export function Auth({ user, children }: { user: User | null; children: ReactNode }) {
  const [auth] = useState(() => clientFor(user))
  const router = useRouter()
  // What was rendered for the person before is rendered again.
  useEffect(() => auth.onUserChange(() => router.refresh()), [auth, router])
  return (
    <AuthProvider auth={auth} fallback={<Waiting />}>
      {children}
    </AuthProvider>
  )
}

/** Shows what the server rendered for one person to that person alone. */
export function For({ user, children }: { user: User; children: ReactNode }) {
  return useUser()?.id === user.id ? children : <Waiting />
}

function Waiting() {
  const session = useSession()
  const hasProblem = session.status === 'unknown' && session.problem !== null
  return <p>{hasProblem ? 'Waiting for the network …' : 'Loading …'}</p>
}
