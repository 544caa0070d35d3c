import { Link } from '@tanstack/react-router'
import { useState, type ReactNode } from 'react'
import { useAuth, useUser } from '../../react/index.ts'
import { useAccess } from '../access.ts'
import { Foreign } from '../parts/foreign.tsx'
import { screenNames, words } from '../words/common.ts'

const screens = [
  ['/overview', screenNames.overview],
  ['/sessions', screenNames.sessions],
  ['/incidents', screenNames.incidents],
  ['/users', screenNames.users],
  ['/ledger', screenNames.ledger],
] as const

export function Header(): ReactNode {
  const { isAdmin } = useAccess()
  const user = useUser()
  return (
    <header className="top">
      <div className="top-inner">
        <Link to="/" className="brand">
          {words.product}
        </Link>
        <nav aria-label={words.nav}>
          {isAdmin &&
            screens.map(([to, name]) => (
              <Link key={to} to={to}>
                {name}
              </Link>
            ))}
          <Link to="/account">{words.yourAccount}</Link>
        </nav>
        <div className="who">
          <Foreign text={user?.email ?? null} />
          <SignOut />
        </div>
      </div>
    </header>
  )
}

function SignOut(): ReactNode {
  const auth = useAuth()
  const [isRunning, setIsRunning] = useState(false)
  const signOut = () => {
    setIsRunning(true)
    auth.logout().catch(() => setIsRunning(false))
  }
  return (
    <button type="button" className="quiet small" disabled={isRunning} onClick={signOut}>
      {words.signOut}
    </button>
  )
}
