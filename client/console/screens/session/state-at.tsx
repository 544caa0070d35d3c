import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { useId, type ReactNode } from 'react'
import { formatMoment } from '../../format.ts'
import { Answer } from '../../parts/answer.tsx'
import { Status } from '../../parts/status.tsx'
import { Time } from '../../parts/time.tsx'
import { useSettled } from '../../parts/use-settled.ts'
import { trpc } from '../../service.ts'
import { reasonWords } from '../../words/session-terms.ts'
import { words } from '../../words/session.ts'
import type { SessionLife } from './session-life.ts'

/** An arrow key moves the slider by this part of the time that it spans. */
const steps = 400
const settleMs = 150

/** What was true at a moment: the ledger answers, not this page. */
export function StateAt({
  session: { familyId, events },
  span: { fromAt, toAt },
  at,
  choose,
}: {
  readonly session: SessionLife
  readonly span: { readonly fromAt: number; readonly toAt: number }
  readonly at: number
  readonly choose: (at: number) => void
}): ReactNode {
  const id = useId()
  const asked = useSettled(at, settleMs)
  const query = useQuery({
    queryKey: ['admin', 'sessions', 'stateAt', familyId, asked],
    queryFn: ({ signal }) =>
      trpc.admin.sessions.stateAt.query(
        { familyId, at: new Date(asked).toISOString() },
        { signal },
      ),
    placeholderData: keepPreviousData,
  })
  // The end of the millisecond: the ledger's own times are finer.
  const moments = events.map(({ occurredAt }) => new Date(occurredAt).getTime() + 1)
  const before = moments.findLast((moment) => moment < at)
  const after = moments.find((moment) => moment > at)
  return (
    <div className="state-at">
      <label htmlFor={id}>{words.slider}</label>
      <input
        id={id}
        type="range"
        min={fromAt + 1}
        max={toAt}
        step={Math.max(1, Math.round((toAt - fromAt) / steps))}
        value={at}
        aria-valuetext={formatMoment(at)}
        onChange={(event) => choose(Number(event.currentTarget.value))}
      />
      <div className="actions">
        <Jump to={before} choose={choose}>
          {words.earlier}
        </Jump>
        <Jump to={after} choose={choose}>
          {words.later}
        </Jump>
      </div>
      <Answer query={query}>
        {({ status, generation, expiresAt, endReason }) => (
          <p role="status">
            <Time at={new Date(asked).toISOString()} />: <Status status={status} />{' '}
            {words.generation} {generation}
            {endReason === null ? (
              <>
                , {words.until} <Time at={expiresAt} />
              </>
            ) : (
              `, ${reasonWords[endReason]}`
            )}
          </p>
        )}
      </Answer>
    </div>
  )
}

function Jump({
  to,
  choose,
  children,
}: {
  readonly to: number | undefined
  readonly choose: (at: number) => void
  readonly children: ReactNode
}): ReactNode {
  return (
    <button
      type="button"
      className="quiet small"
      disabled={to === undefined}
      onClick={() => to !== undefined && choose(to)}
    >
      {children}
    </button>
  )
}
