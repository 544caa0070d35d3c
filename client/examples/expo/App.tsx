import { AuthProvider, SignedIn, SignedOut, useSession } from '@token-ledger/client/react'
import { Text, View } from 'react-native'
import { Account } from './account.tsx'
import { auth } from './auth.ts'
import { SignInForm } from './sign-in-form.tsx'

export default function App() {
  return (
    <View style={{ padding: 48, gap: 12 }}>
      <AuthProvider auth={auth} fallback={<Waiting />}>
        <SignedIn>
          <Account />
        </SignedIn>
        <SignedOut>
          <SignInForm />
        </SignedOut>
      </AuthProvider>
    </View>
  )
}

function Waiting() {
  const session = useSession()
  const hasProblem = session.status === 'unknown' && session.problem !== null
  return <Text>{hasProblem ? 'Waiting for the network …' : 'Loading …'}</Text>
}
