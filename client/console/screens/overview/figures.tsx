import { Link } from '@tanstack/react-router'
import type { ReactNode } from 'react'
import { formatDuration, formatNumber } from '../../format.ts'
import type { Outputs } from '../../outputs.ts'
import { words } from '../../words/overview.ts'

type OverviewAnswer = Outputs['admin']['overview']

/** The few numbers that say whether anything needs a look. */
export function Figures({ overview }: { readonly overview: OverviewAnswer }): ReactNode {
  const { activeSessions, incidentsOfWeek, log, processes } = overview
  const { reuse, replaysElsewhere } = incidentsOfWeek
  const active = formatNumber(activeSessions.count)
  return (
    <dl className="figures">
      <Figure title={words.activeSessions} hint={activeSessions.isExact ? null : words.estimated}>
        <Link to="/sessions">{activeSessions.isExact ? active : words.about(active)}</Link>
      </Figure>
      <Figure
        title={words.incidentsOfWeek}
        hint={words.ofThem(formatNumber(reuse), formatNumber(replaysElsewhere))}
      >
        <Link to="/incidents">{formatNumber(reuse + replaysElsewhere)}</Link>
      </Figure>
      <Figure title={words.logBehind}>
        {log.behindMs > 0 ? formatDuration(log.behindMs) : words.logComplete}
      </Figure>
      <Figure title={words.processes}>
        {formatNumber(processes.filter(({ isUp }) => isUp).length)}
      </Figure>
    </dl>
  )
}

function Figure({
  title,
  hint = null,
  children,
}: {
  readonly title: string
  readonly hint?: string | null
  readonly children: ReactNode
}): ReactNode {
  return (
    <div className="figure">
      <dt>{title}</dt>
      <dd>{children}</dd>
      {hint !== null && <dd className="hint">{hint}</dd>}
    </div>
  )
}
