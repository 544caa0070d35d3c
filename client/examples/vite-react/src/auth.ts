import { createAuthClient } from '@token-ledger/client'

export const auth = createAuthClient({
  baseUrl: import.meta.env.VITE_AUTH_URL ?? 'http://localhost:3000',
  // The notes get tokens that no other service accepts.
  origins: [{ origin: location.origin, audience: 'https://notes.example.com' }],
})

import.meta.hot?.dispose(() => auth.dispose())
