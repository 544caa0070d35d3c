import type { ReactNode } from 'react'
import { useSession } from '../../react/index.ts'
import { problemWords, words } from '../words/common.ts'
import { Loading } from '../parts/states.tsx'

/** Before it is known whether the visitor is signed in: neither a form nor a page. */
export function Asking(): ReactNode {
  const session = useSession()
  const problem = session.status === 'signed-out' ? null : session.problem
  return (
    <main className="alone">
      <Loading>
        {problem === null ? words.asking : `${problemWords(problem, null)} ${words.tryingAgain}`}
      </Loading>
    </main>
  )
}
