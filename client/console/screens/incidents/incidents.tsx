import { useInfiniteQuery } from '@tanstack/react-query'
import { useId, useState, type ReactNode } from 'react'
import { pages, Pages } from '../../parts/more.tsx'
import { Screen, Section } from '../../parts/screen.tsx'
import { Empty } from '../../parts/states.tsx'
import { trpc } from '../../service.ts'
import { screenNames } from '../../words/common.ts'
import { words } from '../../words/incidents.ts'
import { ByClient } from './by-client.tsx'
import { IncidentCard } from './incident-card.tsx'
import { fromOf, type Period } from './period.ts'

/** Every incident with what is known about it, and the client versions that cause most. */
export function Incidents(): ReactNode {
  const [period, setPeriod] = useState<Period>('all')
  const query = useInfiniteQuery({
    ...pages,
    queryKey: ['admin', 'incidents', 'list', period],
    queryFn: ({ pageParam }) =>
      trpc.admin.incidents.list.query({ ...fromOf(period), cursor: pageParam, limit: 20 }),
  })
  return (
    <Screen
      title={screenNames.incidents}
      lead={words.lead}
      actions={<PeriodChoice period={period} choose={setPeriod} />}
    >
      <ByClient period={period} />
      <Section title={words.all}>
        <Pages query={query} empty={<Empty>{words.none}</Empty>}>
          {(items) => (
            <div className="incidents">
              {items.map((incident) => (
                <IncidentCard key={incident.incidentId} incident={incident} />
              ))}
            </div>
          )}
        </Pages>
      </Section>
    </Screen>
  )
}

function PeriodChoice({
  period,
  choose,
}: {
  readonly period: Period
  readonly choose: (period: Period) => void
}): ReactNode {
  const id = useId()
  return (
    <div className="choice">
      <label htmlFor={id}>{words.period}</label>
      <select
        id={id}
        value={period}
        onChange={(event) => choose(event.currentTarget.value as Period)}
      >
        {Object.entries(words.periods).map(([value, name]) => (
          <option key={value} value={value}>
            {name}
          </option>
        ))}
      </select>
    </div>
  )
}
