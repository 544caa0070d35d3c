import { Link } from '@tanstack/react-router'
import { useId, type ReactNode } from 'react'
import { formatCount, formatNumber } from '../../format.ts'
import { Section } from '../../parts/screen.tsx'
import { Done, Failed } from '../../parts/states.tsx'
import { Table } from '../../parts/table.tsx'
import { words as common } from '../../words/common.ts'
import { words } from '../../words/ledger.ts'
import { useVerification, type Check, type Progress, type Verdict } from './use-verification.ts'

/** As many the service names at most. */
const mostListed = 1_000

/** Checks every chain of the ledger, says how far it is, and can be cancelled. */
export function Verification(): ReactNode {
  const { check, start, cancel } = useVerification()
  const isRunning = check.status === 'running'
  return (
    <Section
      title={words.verify}
      actions={
        isRunning ? (
          <button type="button" className="quiet" onClick={cancel}>
            {words.stop}
          </button>
        ) : (
          <button type="button" onClick={start}>
            {check.status === 'idle' ? words.start : words.startAgain}
          </button>
        )
      }
    >
      <p className="lead">{words.verifyLead}</p>
      <State check={check} start={start} />
    </Section>
  )
}

function State({ check, start }: { readonly check: Check; readonly start: () => void }): ReactNode {
  switch (check.status) {
    case 'idle':
      return null
    case 'running':
      return <Bar progress={check.progress} />
    case 'cancelled':
      return (
        <p className="state" role="status">
          {words.cancelled(
            formatCount(check.progress.checked, words.families),
            formatNumber(check.progress.broken),
          )}
        </p>
      )
    case 'failed':
      return <Failed error={check.error} again={start} />
    case 'done':
      return <Outcome verdict={check.verdict} />
  }
}

function Bar({ progress: { checked, total, broken } }: { readonly progress: Progress }): ReactNode {
  const id = useId()
  return (
    <div className="field">
      <label htmlFor={id}>{words.progress}</label>
      {total === null ? (
        <progress id={id} />
      ) : (
        <progress id={id} max={Math.max(total, 1)} value={checked} />
      )}
      <p className="hint">
        {total === null
          ? words.checked(formatNumber(checked))
          : words.of(formatNumber(checked), formatNumber(total))}
        {broken > 0 && ` ${words.broken(formatNumber(broken))}`}
      </p>
    </div>
  )
}

function Outcome({ verdict }: { readonly verdict: Verdict }): ReactNode {
  const { intact, families, events, broken } = verdict
  if (intact)
    return (
      <Done>
        {words.intact(formatCount(families, words.families), formatCount(events, words.eventCount))}
      </Done>
    )
  return (
    <>
      <p className="state failed" role="alert">
        {words.broken(formatNumber(broken.length))} {broken.length >= mostListed && words.cut}{' '}
        {words.keepIt}
      </p>
      <Table
        caption={words.brokenCaption}
        rows={broken}
        keyOf={({ familyId }) => familyId}
        columns={[
          {
            title: words.session,
            isHeader: true,
            cell: ({ familyId }) => (
              <Link to="/sessions/$familyId" params={{ familyId }}>
                <code>{familyId}</code>
              </Link>
            ),
          },
          {
            title: words.firstBroken,
            isNumber: true,
            cell: ({ firstBrokenSeq }) =>
              firstBrokenSeq === null ? common.none : formatNumber(firstBrokenSeq),
          },
          { title: words.problem, cell: ({ problem }) => problem ?? common.none },
        ]}
      />
    </>
  )
}
