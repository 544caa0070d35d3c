import type { ReactNode } from 'react'
import { Foreign } from '../../parts/foreign.tsx'
import { Empty } from '../../parts/states.tsx'
import { Time } from '../../parts/time.tsx'
import { actionWords } from '../../words/session-terms.ts'
import { words } from '../../words/session.ts'
import type { SessionLife } from './session-life.ts'

export function AdminActions({
  actions,
}: {
  readonly actions: SessionLife['adminActions']
}): ReactNode {
  if (actions.length === 0) return <Empty>{words.noActions}</Empty>
  return (
    <ol className="lately">
      {actions.map(({ occurredAt, actorEmail, actorUserId, action, reason }) => (
        <li key={`${occurredAt} ${action}`}>
          <p>
            {actionWords[action]} ·{' '}
            <Foreign text={actorEmail ?? actorUserId ?? words.commandLine} />
          </p>
          <p className="faint">
            <Time at={occurredAt} />
          </p>
          {reason !== null && (
            <p>
              <Foreign text={reason} isWhole />
            </p>
          )}
        </li>
      ))}
    </ol>
  )
}
