import { useAuth, useUser } from '@token-ledger/client/react'
import { useState } from 'react'
import { Button, Text } from 'react-native'

export function Account() {
  const auth = useAuth()
  const user = useUser()
  const [answer, setAnswer] = useState('')

  async function countSessions() {
    setAnswer('…')
    try {
      const response = await auth.fetch(`${auth.settings.baseUrl}/trpc/sessions.list`)
      if (!response.ok) throw new Error(`HTTP ${response.status}`)
      const { result } = await response.json()
      setAnswer(`You are signed in ${result.data.items.length} times.`)
    } catch {
      setAnswer('Please try again.')
    }
  }

  return (
    <>
      <Text>Hello {user?.email}</Text>
      <Button title="Count my sessions" onPress={() => void countSessions()} />
      <Text>{answer}</Text>
      <Button title="Sign out" onPress={() => void auth.logout()} />
    </>
  )
}
