import type { ReactNode } from 'react'
import { Foreign } from '../../parts/foreign.tsx'
import { Screen } from '../../parts/screen.tsx'
import { useUser } from '../../../react/index.ts'
import { words } from '../../words/account.ts'
import { ChangePassword } from './change-password.tsx'
import { Lately } from './lately.tsx'
import { OwnSessions } from './own-sessions.tsx'

/** For everyone: where you are signed in, what happened, and your password. */
export function Account(): ReactNode {
  const user = useUser()
  return (
    <Screen title={words.title} lead={<Foreign text={user?.email ?? null} />}>
      <OwnSessions />
      <div className="columns">
        <Lately />
        <ChangePassword />
      </div>
    </Screen>
  )
}
