import { useQueryClient } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import { formatCount } from '../../format.ts'
import { askAgain } from '../../parts/ask-again.ts'
import { Confirm } from '../../parts/confirm.tsx'
import { trpc } from '../../service.ts'
import { words } from '../../words/users.ts'
import type { User } from './user.ts'

export type Act = keyof typeof words.acts

/** Asks before it acts, and says afterwards what that did to the person's sessions. */
export function UserAct({
  act,
  user,
  onDone,
  onClose,
}: {
  readonly act: Act
  readonly user: User
  readonly onDone: (outcome: string) => void
  readonly onClose: () => void
}): ReactNode {
  const queryClient = useQueryClient()
  const { verb, title, text, done } = words.acts[act]
  const run = async (reason: string) => {
    const { revoked, activeSessions } = await perform(act, user.userId, reason)
    const ended = formatCount(revoked, words.ended)
    const goOn =
      activeSessions === null ? words.goOnUnknown : formatCount(activeSessions, words.goOn)
    onDone(`${done(user.email)} ${ended} ${goOn}`)
    // Not awaited: the dialog closes at once, and the table follows.
    void askAgain(queryClient, ['admin'])
  }
  return (
    <Confirm
      title={title(user.email)}
      verb={verb}
      needsReason={act === 'endAll'}
      act={run}
      onClose={onClose}
    >
      <p>{text}</p>
    </Confirm>
  )
}

type Effect = { readonly revoked: number; readonly activeSessions: number | null }

function perform(act: Act, userId: string, reason: string): Promise<Effect> {
  const { users } = trpc.admin
  switch (act) {
    case 'disable':
      return users.disable.mutate({ userId })
    case 'enable':
      return users.enable.mutate({ userId })
    case 'makeAdmin':
      return users.setRole.mutate({ userId, role: 'admin' })
    case 'makeUser':
      return users.setRole.mutate({ userId, role: 'user' })
    case 'endAll':
      return users.revokeSessions.mutate({ userId, reason })
  }
}
