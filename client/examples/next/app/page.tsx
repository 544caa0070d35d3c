import { SignedIn, SignedOut } from '@token-ledger/client/react'
import { headers } from 'next/headers'
import { session } from '../session.ts'
import { For } from './auth.tsx'
import { RefreshButton, SignOutButton } from './buttons.tsx'
import { Sessions } from './sessions.tsx'
import { SignInForm } from './sign-in-form.tsx'

export default async function Page() {
  const current = await session.from({ headers: await headers() }, { readOnly: true })
  return (
    <>
      <SignedIn>
        {current.status === 'signed-in' ? (
          <For user={current.user}>
            <h1>Sessions of {current.user.email}</h1>
            <Sessions accessToken={current.accessToken} />
            <RefreshButton />
            <SignOutButton />
          </For>
        ) : (
          <p>Loading …</p>
        )}
      </SignedIn>
      <SignedOut>
        <SignInForm />
      </SignedOut>
    </>
  )
}
