import { Link, Navigate, Outlet, useRouter } from '@tanstack/react-router'
import type { ReactNode } from 'react'
import { useAccess } from '../access.ts'
import { Screen } from '../parts/screen.tsx'
import { Loading } from '../parts/states.tsx'
import { words } from '../words/common.ts'

/** The first page of a person. */
export function Home(): ReactNode {
  const { isAdmin } = useAccess()
  return <Navigate to={isAdmin ? '/overview' : '/account'} replace />
}

/** Around the screens of admins. To everybody else they do not exist. */
export function AdminsOnly(): ReactNode {
  const { isAdmin } = useAccess()
  return isAdmin ? <Outlet /> : <Navigate to="/account" replace />
}

export function NotFound(): ReactNode {
  return (
    <Screen title={words.notFoundTitle} lead={words.notFound}>
      <p>
        <Link to="/">{words.home}</Link>
      </p>
    </Screen>
  )
}

/** A screen whose script is on its way. */
export function Pending(): ReactNode {
  return <Loading />
}

/** A screen that threw, or whose script could not be loaded. */
export function Broken({ error }: { readonly error: unknown }): ReactNode {
  const router = useRouter()
  const isAway = error instanceof TypeError
  return (
    <Screen
      title={words.brokenTitle}
      lead={isAway ? words.noScript : String(error instanceof Error ? error.message : error)}
    >
      <div className="actions">
        <button type="button" onClick={() => void router.invalidate()}>
          {words.tryAgain}
        </button>
        <button type="button" className="quiet" onClick={() => location.reload()}>
          {words.reload}
        </button>
      </div>
    </Screen>
  )
}
