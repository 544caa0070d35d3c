import { createElement, Fragment, useEffect, useState, type ReactNode } from 'react'
import type { AuthClient } from '../public-types.ts'
import { AuthContext, useStatus, useUserId } from './hooks.ts'

export type AuthProviderProps = {
  /** Made outside of components, and disposed of by the code that made it. */
  readonly auth: AuthClient
  /** Shown until it is known whether the visitor is signed in. */
  readonly fallback?: ReactNode
  readonly children?: ReactNode
}

/**
 * Gives the components below it the session of `auth`, and restores it once the page is shown. When the user signs out
 * or another person signs in, it mounts these components anew, so that none keeps the state of the person before.
 *
 * It never disposes of the client, because StrictMode unmounts components that stay in use.
 */
export function AuthProvider({ auth, fallback, children }: AuthProviderProps): ReactNode {
  useEffect(() => void auth.restore(), [auth])
  return createElement(
    AuthContext.Provider,
    { value: auth },
    createElement(Below, { fallback, children }),
  )
}

/** Shows its children to a signed-in user only. */
export function SignedIn({ children }: Children): ReactNode {
  return useStatus() === 'signed-in' ? children : null
}

/** Shows its children to a visitor who is known to be signed out. */
export function SignedOut({ children }: Children): ReactNode {
  return useStatus() === 'signed-out' ? children : null
}

function Below({ fallback, children }: Omit<AuthProviderProps, 'auth'>): ReactNode {
  const status = useStatus()
  const userId = useUserId()
  const [seen, setSeen] = useState({ userId, departures: 0 })
  if (seen.userId !== userId)
    setSeen({ userId, departures: seen.departures + (seen.userId === null ? 0 : 1) })
  return status === 'unknown'
    ? fallback
    : createElement(Fragment, { key: seen.departures }, children)
}

type Children = { readonly children?: ReactNode }
