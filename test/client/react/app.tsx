// The app that the tests of `client/react` render, on a server and in Chromium.
import { QueryClientProvider, useMutation, useQuery, type QueryClient } from '@tanstack/react-query'
import { StrictMode, useEffect, useRef, type ReactNode } from 'react'
import type { AuthClient } from '../../../client/index.ts'
import {
  AuthProvider,
  SignedIn,
  SignedOut,
  useAuth,
  useSession,
  useUser,
} from '../../../client/react/index.ts'

export function App({ auth, queries }: { auth: AuthClient; queries: QueryClient }): ReactNode {
  return (
    <StrictMode>
      <QueryClientProvider client={queries}>
        <AuthProvider auth={auth} fallback={<p id="fallback">Loading …</p>}>
          <Status />
          <SignedIn>
            <User />
          </SignedIn>
          <SignedOut>
            <p id="form">Sign in</p>
          </SignedOut>
          <Me />
          <SignInButton />
        </AuthProvider>
      </QueryClientProvider>
    </StrictMode>
  )
}

function Status(): ReactNode {
  const session = useSession()
  return (
    <p id="status" data-status={session.status}>
      {session.status === 'signed-out' ? session.reason : session.status}
    </p>
  )
}

function User(): ReactNode {
  const user = useUser()
  const effects = useRef(0)
  // An effect of a team's own, such as a connection for this user.
  useEffect(() => {
    effects.current += 1
    document.documentElement.dataset.userEffects = String(effects.current)
  }, [user])
  return <p id="user">{user?.email}</p>
}

/** Stays on the page, signed in or not. */
function Me(): ReactNode {
  const auth = useAuth()
  const me = useQuery({ queryKey: ['me'], queryFn: ({ signal }) => fetchMe(auth, signal) })
  return (
    <p id="me" data-state={me.status}>
      {me.data ?? me.error?.message}
    </p>
  )
}

async function fetchMe(auth: AuthClient, signal: AbortSignal): Promise<string> {
  const response = await auth.fetch(`${auth.settings.baseUrl}/trpc/me`, { signal })
  if (!response.ok) throw Object.assign(new Error('refused'), { status: response.status })
  const { result } = (await response.json()) as { result: { data: { user: { email: string } } } }
  return result.data.user.email
}

/** Signs in by a mutation, which must survive that the mutations of the person before are dropped. */
function SignInButton(): ReactNode {
  const auth = useAuth()
  const signIn = useMutation({
    mutationFn: () => auth.login(JSON.parse(document.documentElement.dataset.credentials ?? '')),
  })
  return (
    <button id="sign-in" data-state={signIn.status} onClick={() => signIn.mutate()}>
      Sign in
    </button>
  )
}
