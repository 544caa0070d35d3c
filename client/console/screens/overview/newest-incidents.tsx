import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import type { ReactNode } from 'react'
import { Answer } from '../../parts/answer.tsx'
import { Foreign } from '../../parts/foreign.tsx'
import { Section } from '../../parts/screen.tsx'
import { Empty } from '../../parts/states.tsx'
import { Ago } from '../../parts/time.tsx'
import { trpc } from '../../service.ts'
import { words as incidentWords } from '../../words/incidents.ts'
import { words } from '../../words/overview.ts'

const shown = 5

/** Each leads to what is known about it. */
export function NewestIncidents({ askEveryMs }: { readonly askEveryMs: number }): ReactNode {
  const query = useQuery({
    queryKey: ['admin', 'incidents', 'list', 'newest'],
    queryFn: () => trpc.admin.incidents.list.query({ limit: shown }),
    refetchInterval: askEveryMs,
  })
  return (
    <Section
      title={words.newestIncidents}
      actions={<Link to="/incidents">{words.allIncidents}</Link>}
    >
      <Answer query={query}>
        {({ items }) =>
          items.length === 0 ? (
            <Empty>{words.noIncidents}</Empty>
          ) : (
            <ul className="lines">
              {items.map(({ incidentId, kind, email, occurredAt }) => (
                <li key={incidentId}>
                  <Link to="/incidents" hash={incidentId}>
                    {incidentWords.kinds[kind]}
                  </Link>
                  <Foreign text={email} />
                  <Ago at={occurredAt} />
                </li>
              ))}
            </ul>
          )
        }
      </Answer>
    </Section>
  )
}
