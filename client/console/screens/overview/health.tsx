import type { ReactNode } from 'react'
import { formatDuration } from '../../format.ts'
import type { Outputs } from '../../outputs.ts'
import { Badge } from '../../parts/badge.tsx'
import { Section } from '../../parts/screen.tsx'
import { Empty } from '../../parts/states.tsx'
import { Table } from '../../parts/table.tsx'
import { Ago } from '../../parts/time.tsx'
import { words as common } from '../../words/common.ts'
import { warningWords, words } from '../../words/overview.ts'

type OverviewAnswer = Outputs['admin']['overview']

/** Each process of the service, how far it is behind the ends of sessions, and what the operator should change. */
export function Health({ overview }: { readonly overview: OverviewAnswer }): ReactNode {
  const { processes, warnings, log } = overview
  return (
    <Section title={words.health}>
      {warnings.map((warning) => (
        <p key={warning} className="notice warn">
          {warningWords(warning)}
        </p>
      ))}
      {log.refusal !== null && (
        <p className="notice warn">{`${words.noCheckpointSigned} ${log.refusal}`}</p>
      )}
      {processes.length === 0 ? (
        <Empty>{words.noProcesses}</Empty>
      ) : (
        <Table
          caption={words.health}
          rows={processes}
          keyOf={({ processId }) => processId}
          columns={[
            {
              title: words.process,
              isHeader: true,
              cell: ({ processId, isThis }) => (
                <>
                  <code title={processId}>{processId.slice(0, 8)}</code>{' '}
                  {isThis && <span className="faint">{words.thisOne}</span>}
                </>
              ),
            },
            {
              title: words.state,
              cell: ({ isUp }) =>
                isUp ? (
                  <Badge tone="good">{words.isUp}</Badge>
                ) : (
                  <Badge tone="plain">{words.isGone}</Badge>
                ),
            },
            {
              title: words.behind,
              cell: ({ lagMs }) => (lagMs === null ? common.none : formatDuration(lagMs)),
            },
            { title: words.version, cell: ({ version }) => version ?? common.none },
            { title: words.started, cell: ({ startedAt }) => <Ago at={startedAt} /> },
            { title: words.seen, cell: ({ seenAt }) => <Ago at={seenAt} /> },
          ]}
        />
      )}
    </Section>
  )
}
