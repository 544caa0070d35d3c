import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useState, type ReactNode } from 'react'
import { formatCount } from '../../format.ts'
import { askAgain } from '../../parts/ask-again.ts'
import { Confirm } from '../../parts/confirm.tsx'
import { Done } from '../../parts/states.tsx'
import { trpc } from '../../service.ts'
import { words } from '../../words/incidents.ts'

/** Ends what is left of a person's sessions, with a reason, and says how many there were. */
export function EndAllOf({ userId }: { readonly userId: string }): ReactNode {
  const queryClient = useQueryClient()
  const [isAsking, setIsAsking] = useState(false)
  const end = useMutation({
    mutationFn: (reason: string) => trpc.admin.users.revokeSessions.mutate({ userId, reason }),
    onSuccess: () => askAgain(queryClient, ['admin', 'sessions']),
  })
  return (
    <>
      <button type="button" className="danger" onClick={() => setIsAsking(true)}>
        {words.endAll}
      </button>
      {end.data !== undefined && <Done>{formatCount(end.data.revoked, words.sessions)}</Done>}
      {isAsking && (
        <Confirm
          title={words.endAll}
          verb={words.endAllVerb}
          needsReason
          act={end.mutateAsync}
          onClose={() => setIsAsking(false)}
        >
          <p>{words.endAllText}</p>
        </Confirm>
      )}
    </>
  )
}
