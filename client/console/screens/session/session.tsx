import { useQuery } from '@tanstack/react-query'
import { getRouteApi } from '@tanstack/react-router'
import { useState, type ReactNode } from 'react'
import { askAgain } from '../../parts/ask-again.ts'
import { Answer } from '../../parts/answer.tsx'
import { Confirm } from '../../parts/confirm.tsx'
import { Foreign } from '../../parts/foreign.tsx'
import { personOf } from '../../parts/person.ts'
import { Screen, Section } from '../../parts/screen.tsx'
import { Done } from '../../parts/states.tsx'
import { Status } from '../../parts/status.tsx'
import { queryClient, trpc } from '../../service.ts'
import { words } from '../../words/session.ts'
import { AdminActions } from './admin-actions.tsx'
import { Chain } from './chain.tsx'
import { EventTable } from './event-table.tsx'
import { Facts } from './facts.tsx'
import type { SessionLife } from './session-life.ts'
import { Timeline } from './timeline.tsx'

const route = getRouteApi('/admins/sessions/$familyId')

/** The life of one session. */
export function Session(): ReactNode {
  const { familyId } = route.useParams()
  const query = useQuery({
    queryKey: ['admin', 'sessions', 'get', familyId],
    queryFn: ({ signal }) => trpc.admin.sessions.get.query({ familyId }, { signal }),
  })
  const { data } = query
  return (
    <Screen
      title={words.title}
      lead={
        data !== undefined && (
          <>
            <Status status={data.status} /> <Foreign text={personOf(data, words.erased)} />
          </>
        )
      }
      actions={data !== undefined && <EndSession session={data} />}
    >
      <Answer query={query}>
        {(session) => (
          <>
            <Section title={words.timeline}>
              <p className="faint">{words.timelineText}</p>
              <Timeline key={session.familyId} session={session} />
            </Section>
            <Section title={words.events}>
              <p className="faint">{words.eventsText}</p>
              <EventTable events={session.events} />
            </Section>
            <div className="columns">
              <Section title={words.facts}>
                <Facts session={session} />
              </Section>
              <div className="stack">
                <Section title={words.chain}>
                  <Chain familyId={familyId} known={session.chain} />
                </Section>
                <Section title={words.actions}>
                  <AdminActions actions={session.adminActions} />
                </Section>
              </div>
            </div>
          </>
        )}
      </Answer>
    </Screen>
  )
}

function EndSession({ session }: { readonly session: SessionLife }): ReactNode {
  const [isOpen, setIsOpen] = useState(false)
  const [done, setDone] = useState<string | null>(null)
  const { familyId } = session
  const end = async (reason: string) => {
    const { revoked } = await trpc.admin.sessions.revoke.mutate({ familyId, reason })
    setDone(revoked === 1 ? words.ended : words.wasOver)
    await askAgain(queryClient, ['admin'])
  }
  return (
    <>
      {done !== null && <Done>{done}</Done>}
      {session.status === 'active' && (
        <button type="button" className="danger" onClick={() => setIsOpen(true)}>
          {words.end}
        </button>
      )}
      {isOpen && (
        <Confirm
          title={words.endTitle}
          verb={words.end}
          needsReason
          act={end}
          onClose={() => setIsOpen(false)}
        >
          <p>{words.endText}</p>
        </Confirm>
      )}
    </>
  )
}
