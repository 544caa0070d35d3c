// The entry of the page: renders the app, or takes over the markup of a server.
import { QueryClient } from '@tanstack/react-query'
import { StrictMode, useEffect, useState, type ReactNode } from 'react'
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
    /** Undoes all that React has mounted. */
    unmount(): void
    /** Mounts the page again, with a client that the module keeps or one that a component makes and disposes of. */
    mount(owner: 'module' | 'component'): void
    /** How many components and queries subscribe to a client. */
    subscribers: number
    /** How often a client has become signed in. */
    signIns: number
    hydrationErrors: string[]
  }
}

const root = document.querySelector('#root')!
const user = root.getAttribute('data-user')
const queries = new QueryClient({ defaultOptions: { queries: { retryDelay: 50 } } })
let stop = () => {}

function start(): ReactNode {
  const auth = makeClient()
  const disconnect = connectQueryClient(auth, queries)
  stop = () => {
    disconnect()
    auth.dispose()
  }
  return <App auth={auth} queries={queries} />
}

/** A client that counts what the tests ask about. */
function makeClient(): AuthClient {
  const auth = createAuthClient(user === null ? {} : { initial: { user: JSON.parse(user) } })
  const subscribe = auth.subscribe.bind(auth)
  let wasSignedIn = false
  subscribe(({ status }) => {
    if (status === 'signed-in' && !wasSignedIn) window.signIns += 1
    wasSignedIn = status === 'signed-in'
  })
  auth.subscribe = (listener) => {
    window.subscribers += 1
    const unsubscribe = subscribe(listener)
    return () => {
      window.subscribers -= 1
      unsubscribe()
    }
  }
  window.auth = auth
  return auth
}

/** Makes the client in an effect, and disposes of it when the effect is undone. */
function WithOwnClient(): ReactNode {
  const [auth, setAuth] = useState<AuthClient | null>(null)
  useEffect(() => {
    const made = makeClient()
    setAuth(made)
    // The first mount of StrictMode is undone while this request is on its way.
    void made.restore()
    return () => made.dispose()
  }, [])
  return auth === null ? null : <App auth={auth} queries={queries} />
}

window.queries = queries
window.hydrationErrors = []
window.subscribers = 0
window.signIns = 0
if (user === null) {
  let mounted = createRoot(root)
  mounted.render(start())
  window.reload = () => {
    stop()
    mounted.render(start())
  }
  window.unmount = () => mounted.unmount()
  window.mount = (owner) => {
    mounted = createRoot(root)
    mounted.render(
      owner === 'module' ? (
        <App auth={window.auth} queries={queries} />
      ) : (
        <StrictMode>
          <WithOwnClient />
        </StrictMode>
      ),
    )
  }
} else
  hydrateRoot(root, start(), {
    onRecoverableError: (error) => window.hydrationErrors.push(String(error)),
  })
