// The entry of the page: renders the app, or takes over the markup of a server.
import { QueryClient } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import { createRoot, hydrateRoot } from 'react-dom/client'
import { createAuthClient, type AuthClient } from '../../../client/index.ts'
import { connectQueryClient } from '../../../client/react/index.ts'
import { App } from './app.tsx'

declare global {
  interface Window {
    auth: AuthClient
    queries: QueryClient
    /** What a hot reload of the module that makes the client does. */
    reload(): void
    hydrationErrors: string[]
  }
}

const root = document.querySelector('#root')!
const user = root.getAttribute('data-user')
const queries = new QueryClient({ defaultOptions: { queries: { retryDelay: 50 } } })
let stop = () => {}

function start(): ReactNode {
  const auth = createAuthClient(user === null ? {} : { initial: { user: JSON.parse(user) } })
  const disconnect = connectQueryClient(auth, queries)
  window.auth = auth
  stop = () => {
    disconnect()
    auth.dispose()
  }
  return <App auth={auth} queries={queries} />
}

window.queries = queries
window.hydrationErrors = []
if (user === null) {
  const mounted = createRoot(root)
  mounted.render(start())
  window.reload = () => {
    stop()
    mounted.render(start())
  }
} else
  hydrateRoot(root, start(), {
    onRecoverableError: (error) => window.hydrationErrors.push(String(error)),
  })
