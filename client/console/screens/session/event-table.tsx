import type { ReactNode } from 'react'
import { formatDuration } from '../../format.ts'
import { Foreign } from '../../parts/foreign.tsx'
import { Kind } from '../../parts/kind.tsx'
import { Time } from '../../parts/time.tsx'
import type { Column } from '../../parts/table.tsx'
import { VirtualTable } from '../../parts/virtual-table.tsx'
import { words as common } from '../../words/common.ts'
import { reasonWords } from '../../words/session-terms.ts'
import { words } from '../../words/session.ts'
import type { LifeEvent } from './session-life.ts'

const columns: readonly Column<LifeEvent>[] = [
  { title: words.number, isHeader: true, cell: ({ seq }) => seq },
  { title: words.event, cell: ({ kind }) => <Kind kind={kind} /> },
  { title: words.at, cell: ({ occurredAt }) => <Time at={occurredAt} /> },
  { title: words.generationTitle, cell: ({ generation }) => generation },
  {
    title: words.presented,
    cell: ({ presentedGeneration }) => presentedGeneration ?? common.none,
  },
  {
    title: words.from,
    cell: ({ ip, userAgent }) => (
      <>
        <Foreign text={ip} />
        <br />
        <span className="faint">
          <Foreign text={userAgent} />
        </span>
      </>
    ),
  },
  { title: words.because, cell: (event) => <Why event={event} /> },
]

/** The same as the picture, for readers and for those who want each number. */
export function EventTable({ events }: { readonly events: readonly LifeEvent[] }): ReactNode {
  return (
    <div className="event-table">
      <VirtualTable
        caption={words.events}
        columns={columns}
        rows={events}
        keyOf={({ seq }) => String(seq)}
      />
    </div>
  )
}

function Why({ event: { reason, comeBack } }: { readonly event: LifeEvent }): ReactNode {
  const texts = [
    ...(reason === null ? [] : [reasonWords[reason]]),
    ...(comeBack === null ? [] : comeBackWords(comeBack)),
  ]
  return texts.length === 0 ? common.none : texts.join('; ')
}

function comeBackWords(comeBack: NonNullable<LifeEvent['comeBack']>): string[] {
  const { sinceSpentMs, sameNetwork, sameUserAgent } = comeBack
  return [
    `${formatDuration(sinceSpentMs)} ${words.afterSpent}`,
    ...(sameNetwork === null ? [] : [sameNetwork ? words.sameNetwork : words.otherNetwork]),
    ...(sameUserAgent === null ? [] : [sameUserAgent ? words.sameAgent : words.otherAgent]),
  ]
}
