import { QueryClientProvider } from '@tanstack/react-query'
import { AuthProvider, SignedIn, SignedOut, useSession } from '@token-ledger/client/react'
import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { queryClient } from './api.ts'
import { auth } from './auth.ts'
import { Notes } from './notes.tsx'
import { SignInForm } from './sign-in-form.tsx'

createRoot(document.querySelector('#root')!).render(
  <StrictMode>
    <QueryClientProvider client={queryClient}>
      <AuthProvider auth={auth} fallback={<Waiting />}>
        <SignedIn>
          <Notes />
        </SignedIn>
        <SignedOut>
          <SignInForm />
        </SignedOut>
      </AuthProvider>
    </QueryClientProvider>
  </StrictMode>,
)

function Waiting() {
  const session = useSession()
  const hasProblem = session.status === 'unknown' && session.problem !== null
  return <p>{hasProblem ? 'Waiting for the network …' : 'Loading …'}</p>
}
