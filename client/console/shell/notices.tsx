import type { ReactNode } from 'react'
import { useSession } from '../../react/index.ts'
import { useAccess } from '../access.ts'
import { problemWords, words } from '../words/common.ts'

/** What concerns every screen: the session cannot be renewed for now, or the person is no admin any more. */
export function Notices(): ReactNode {
  const session = useSession()
  const { hasLostRole } = useAccess()
  const problem = session.status === 'signed-in' ? session.problem : null
  return (
    <div className="notices" aria-live="polite">
      {problem !== null && (
        <p className="notice warn">{`${problemWords(problem, null)} ${words.tryingAgain}`}</p>
      )}
      {hasLostRole && <p className="notice warn">{words.roleLost}</p>}
    </div>
  )
}
