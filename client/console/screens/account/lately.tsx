import { useInfiniteQuery } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import { CopyButton } from '../../parts/copy.tsx'
import { Device } from '../../parts/device.tsx'
import { Foreign } from '../../parts/foreign.tsx'
import { pages, Pages } from '../../parts/more.tsx'
import { Section } from '../../parts/screen.tsx'
import { Empty } from '../../parts/states.tsx'
import { Time } from '../../parts/time.tsx'
import { trpc } from '../../service.ts'
import { ownEventWords, words } from '../../words/account.ts'

const pageSize = 10

/** Where the person's sessions began, and how they ended. */
export function Lately(): ReactNode {
  const query = useInfiniteQuery({
    queryKey: ['account', 'events'],
    queryFn: ({ pageParam: cursor, signal }) =>
      trpc.account.events.query({ cursor, limit: pageSize }, { signal }),
    ...pages,
  })
  return (
    <Section title={words.lately}>
      <Pages query={query} empty={<Empty>{words.nothing}</Empty>} isOnDemand>
        {(items) => (
          <ol className="lately">
            {items.map((event) => (
              <li key={`${event.familyId}:${event.kind}`} className={event.kind}>
                <p>{ownEventWords(event)}</p>
                <p className="faint">
                  <Time at={event.occurredAt} /> · <Device {...event} />
                  {event.ip !== null && (
                    <>
                      {' '}
                      {words.from} <Foreign text={event.ip} />
                    </>
                  )}
                </p>
                {event.kind === 'reuse_detected' && event.incidentId !== null && (
                  <p className="faint">
                    <code>{event.incidentId}</code>{' '}
                    <CopyButton text={event.incidentId} what={words.incident} />
                  </p>
                )}
              </li>
            ))}
          </ol>
        )}
      </Pages>
    </Section>
  )
}
