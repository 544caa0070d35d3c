import { useMemo, useState, type ReactNode } from 'react'
import { formatNumber } from '../../format.ts'
import type { Outputs } from '../../outputs.ts'
import { Chart } from '../../parts/chart.tsx'
import { Section } from '../../parts/screen.tsx'
import { Empty } from '../../parts/states.tsx'
import { Table } from '../../parts/table.tsx'
import { Time } from '../../parts/time.tsx'
import { words } from '../../words/overview.ts'

type OverviewAnswer = Outputs['admin']['overview']
type Bucket = OverviewAnswer['items'][number]

const kinds = ['issued', 'rotated', 'replayed', 'reuseDetected', 'revoked'] as const
type Kind = (typeof kinds)[number]

const colors = {
  issued: '--chart-2',
  rotated: '--chart-1',
  replayed: '--chart-3',
  reuseDetected: '--chart-4',
  revoked: '--chart-5',
} as const satisfies Record<Kind, string>

/** A chart of the kinds that are ticked, and a table of all. */
export function EventsOverTime({ overview }: { readonly overview: OverviewAnswer }): ReactNode {
  const { items, totals } = overview
  const [shown, setShown] = useState<ReadonlySet<Kind>>(new Set(kinds))
  const times = useMemo(() => items.map(({ at }) => Date.parse(at) / 1000), [items])
  const series = useMemo(
    () =>
      kinds
        .filter((kind) => shown.has(kind))
        .map((kind) => ({
          label: words.kinds[kind],
          color: colors[kind],
          values: items.map((item) => item[kind]),
        })),
    [items, shown],
  )
  const toggle = (kind: Kind) =>
    setShown(new Set(kinds.filter((one) => shown.has(one) !== (one === kind))))
  const filled = items.filter((item) => kinds.some((kind) => item[kind] > 0))
  return (
    <Section title={words.events}>
      <fieldset className="choices">
        <legend className="for-readers">{words.shown}</legend>
        {kinds.map((kind) => (
          <label key={kind} className={`series ${kind}`}>
            <input type="checkbox" checked={shown.has(kind)} onChange={() => toggle(kind)} />
            <span>
              {words.kinds[kind]} <span className="faint">{formatNumber(totals[kind])}</span>
            </span>
          </label>
        ))}
      </fieldset>
      <Chart label={words.eventsLabel} times={times} series={series} />
      <details>
        <summary>{words.asTable}</summary>
        {filled.length === 0 ? <Empty>{words.noEvents}</Empty> : <Numbers items={filled} />}
      </details>
    </Section>
  )
}

function Numbers({ items }: { readonly items: readonly Bucket[] }): ReactNode {
  return (
    <Table
      caption={words.events}
      rows={items}
      keyOf={({ at }) => at}
      columns={[
        { title: words.from, isHeader: true, cell: ({ at }) => <Time at={at} /> },
        ...kinds.map((kind) => ({
          title: words.kinds[kind],
          isNumber: true,
          cell: (item: Bucket) => formatNumber(item[kind]),
        })),
      ]}
    />
  )
}
