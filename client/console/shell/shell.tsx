import { Outlet } from '@tanstack/react-router'
import { useEffect, useRef, type ReactNode } from 'react'
import { useLocation } from '@tanstack/react-router'
import { useSession } from '../../react/index.ts'
import { SignIn } from '../screens/sign-in/sign-in.tsx'
import { words } from '../words/common.ts'
import { Header } from './header.tsx'
import { Notices } from './notices.tsx'
import { StepUp } from './step-up-dialog.tsx'

/** Around every screen. A visitor who is signed out gets the form, and the screen of the address after the sign-in. */
export function Shell(): ReactNode {
  const session = useSession()
  useFocusOnNewScreen()
  if (session.status === 'unknown') return null
  if (session.status === 'signed-out') return <SignIn session={session} />
  return (
    <>
      <a className="skip" href="#content">
        {words.skip}
      </a>
      <Header />
      <main id="content" tabIndex={-1}>
        <Notices />
        <Outlet />
      </main>
      <StepUp />
    </>
  )
}

/** A reader of the screen hears the heading of the new screen, and goes on from there with the keyboard. */
function useFocusOnNewScreen(): void {
  const { pathname } = useLocation()
  const shown = useRef(pathname)
  useEffect(() => {
    if (shown.current === pathname) return
    shown.current = pathname
    document.querySelector('h1')?.focus()
  }, [pathname])
}
