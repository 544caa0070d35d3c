import { useVirtualizer } from '@tanstack/react-virtual'
import { memo, useRef, type ReactNode } from 'react'
import type { Outputs } from '../../outputs.ts'
import { Foreign } from '../../parts/foreign.tsx'
import { Time } from '../../parts/time.tsx'
import { words } from '../../words/ledger.ts'
import { KindBadge, SessionLink } from './event-table.tsx'

export type LedgerEvent = Outputs['admin']['ledger']['events']['items'][number]

/** In px, as `.event-row` lays them out: in one line, or in three where the box is narrow. */
const heights = { wide: 40, narrow: 104 } as const
const narrowBelow = 700

/** Events in a box that scrolls. Only the rows in view are in the page, however many there are. */
export function EventRows({ events }: { readonly events: readonly LedgerEvent[] }): ReactNode {
  const box = useRef<HTMLDivElement>(null)
  const rows = useVirtualizer({
    count: events.length,
    getScrollElement: () => box.current,
    estimateSize: () =>
      (box.current?.clientWidth ?? 0) < narrowBelow ? heights.narrow : heights.wide,
    overscan: 5,
    getItemKey: (index) => events[index]?.position ?? index,
  })
  return (
    <div
      ref={box}
      className="event-rows"
      role="table"
      aria-label={words.events}
      aria-rowcount={events.length}
      tabIndex={0}
    >
      <div role="rowgroup" className="event-rows-all" style={{ height: rows.getTotalSize() }}>
        {rows.getVirtualItems().map(({ key, index, start, size }) => {
          const event = events[index]
          return event === undefined ? null : (
            <div
              key={String(key)}
              role="row"
              aria-rowindex={index + 1}
              className="event-row"
              style={{ height: size, transform: `translateY(${start}px)` }}
            >
              <Cells event={event} />
            </div>
          )
        })}
      </div>
    </div>
  )
}

const Cells = memo(function Cells({ event }: { readonly event: LedgerEvent }) {
  const { kind, email, occurredAt, ip, userAgent } = event
  return (
    <>
      <span role="cell">
        <Time at={occurredAt} />
      </span>
      <span role="cell">
        <KindBadge kind={kind} />
      </span>
      <span role="cell">
        <Foreign text={email} />
      </span>
      <span role="cell">
        <SessionLink event={event} />
      </span>
      <span role="cell">
        <Foreign text={ip} />
      </span>
      <span role="cell">
        <Foreign text={userAgent} />
      </span>
    </>
  )
})
