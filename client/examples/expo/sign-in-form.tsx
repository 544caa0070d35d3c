import type { AuthClientError } from '@token-ledger/client'
import { useAuth, useSession } from '@token-ledger/client/react'
import { useState } from 'react'
import { Button, Text, TextInput } from 'react-native'

export function SignInForm() {
  const auth = useAuth()
  const session = useSession()
  const [email, setEmail] = useState('')
  const [password, setPassword] = useState('')
  const [problem, setProblem] = useState('')
  const incidentId = session.status === 'signed-out' ? session.incidentId : null

  const signIn = () =>
    auth
      .login({ email, password, deviceName: 'The app' })
      .catch((error: AuthClientError) => setProblem(error.message))

  return (
    <>
      {incidentId !== null && (
        <Text>Your session was ended. Support finds it by {incidentId}.</Text>
      )}
      <TextInput placeholder="E-mail" autoCapitalize="none" value={email} onChangeText={setEmail} />
      <TextInput
        placeholder="Password"
        secureTextEntry
        value={password}
        onChangeText={setPassword}
      />
      <Button title="Sign in" onPress={() => void signIn()} />
      <Text>{problem}</Text>
    </>
  )
}
