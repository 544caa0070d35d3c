import { useMemo, useState, type ReactNode } from 'react'
import { formatCount, formatNumber } from '../../format.ts'
import { Badge, type Tone } from '../../parts/badge.tsx'
import { Screen, Section } from '../../parts/screen.tsx'
import { Empty, Failed } from '../../parts/states.tsx'
import { VirtualTable } from '../../parts/virtual-table.tsx'
import { screenNames } from '../../words/common.ts'
import { words } from '../../words/ledger.ts'
import { eventColumns } from './event-columns.tsx'
import { acceptsOf, noFilter, TailFilter } from './tail-filter.tsx'
import { LedgerTabs } from './ledger-tabs.tsx'
import { useTail, type TailState } from './use-tail.ts'

const tones = {
  connecting: 'plain',
  live: 'good',
  waiting: 'warn',
  paused: 'warn',
  ended: 'bad',
} as const satisfies Record<TailState, Tone>

/** The ledger as it grows. */
export function Ledger(): ReactNode {
  const [filter, setFilter] = useState(noFilter)
  const accepts = useMemo(() => acceptsOf(filter), [filter])
  const tail = useTail(accepts)
  const { events, received, state } = tail
  const isPaused = state === 'paused'
  return (
    <Screen title={screenNames.ledger} lead={words.tailLead}>
      <LedgerTabs />
      <Section
        title={words.tail}
        actions={
          <>
            {isPaused && (
              <button type="button" className="quiet" onClick={tail.skipToNow}>
                {words.skipToNow}
              </button>
            )}
            <button
              type="button"
              disabled={state === 'ended' || received === 0}
              onClick={isPaused ? tail.resume : tail.pause}
            >
              {isPaused ? words.resume : words.pause}
            </button>
          </>
        }
      >
        <TailFilter filter={filter} change={setFilter} />
        <p className="actions">
          <Badge tone={tones[state]}>{words.states[state]}</Badge>
          <span>{formatCount(received, words.received)}</span>
          {received > events.length && (
            <span className="faint">{words.newest(formatNumber(events.length))}</span>
          )}
        </p>
        {isPaused && <p className="hint">{words.resumeHint}</p>}
        {tail.problem !== null && <Failed error={tail.problem} />}
        {events.length === 0 ? (
          <Empty>{received === 0 ? words.noEventYet : words.noMatch}</Empty>
        ) : (
          <div className="tail">
            <VirtualTable
              caption={words.events}
              columns={eventColumns}
              rows={events}
              keyOf={({ position }) => position}
            />
          </div>
        )}
      </Section>
    </Screen>
  )
}
