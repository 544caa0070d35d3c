import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { useId, useState, type ReactNode } from 'react'
import { Answer } from '../../parts/answer.tsx'
import { Screen } from '../../parts/screen.tsx'
import { trpc } from '../../service.ts'
import { screenNames } from '../../words/common.ts'
import { words } from '../../words/overview.ts'
import { EventsOverTime } from './events-over-time.tsx'
import { Figures } from './figures.tsx'
import { Health } from './health.tsx'
import { NewestIncidents } from './newest-incidents.tsx'

const hourMs = 3_600_000
const dayMs = 24 * hourMs

const ranges = {
  hour: hourMs,
  day: dayMs,
  week: 7 * dayMs,
  month: 30 * dayMs,
  year: 365 * dayMs,
} as const

type Range = keyof typeof ranges

/** Four questions a minute, and none while the page is hidden. */
const askEveryMs = 15_000

/** How the service is: what happened over time, what is going on, and what needs a look. */
export function Overview(): ReactNode {
  const [range, setRange] = useState<Range>('day')
  const query = useQuery({
    queryKey: ['admin', 'overview', range],
    queryFn: () => {
      const to = Date.now()
      const period = { from: new Date(to - ranges[range]), to: new Date(to) }
      return trpc.admin.overview.query({
        from: period.from.toISOString(),
        to: period.to.toISOString(),
      })
    },
    refetchInterval: askEveryMs,
    placeholderData: keepPreviousData,
  })
  return (
    <Screen title={screenNames.overview} actions={<RangeChoice range={range} choose={setRange} />}>
      <Answer query={query}>
        {(overview) => (
          <>
            <Figures overview={overview} />
            <EventsOverTime overview={overview} />
          </>
        )}
      </Answer>
      <NewestIncidents askEveryMs={askEveryMs} />
      {query.data !== undefined && <Health overview={query.data} />}
    </Screen>
  )
}

function RangeChoice({
  range,
  choose,
}: {
  readonly range: Range
  readonly choose: (range: Range) => void
}): ReactNode {
  const id = useId()
  return (
    <div className="choice">
      <label htmlFor={id}>{words.range}</label>
      <select
        id={id}
        value={range}
        onChange={(event) => choose(event.currentTarget.value as Range)}
      >
        {Object.entries(words.ranges).map(([value, name]) => (
          <option key={value} value={value}>
            {name}
          </option>
        ))}
      </select>
    </div>
  )
}
