'use client'

import { useAuth } from '@token-ledger/client/react'
import { useRouter } from 'next/navigation'

export function RefreshButton() {
  const router = useRouter()
  return <button onClick={() => router.refresh()}>Refresh</button>
}

export function SignOutButton() {
  const auth = useAuth()
  return <button onClick={() => void auth.logout()}>Sign out</button>
}
