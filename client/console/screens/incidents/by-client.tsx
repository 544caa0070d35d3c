import { useQuery } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import { formatNumber, formatShare } from '../../format.ts'
import { Answer } from '../../parts/answer.tsx'
import { Foreign } from '../../parts/foreign.tsx'
import { Section } from '../../parts/screen.tsx'
import { Empty } from '../../parts/states.tsx'
import { Table } from '../../parts/table.tsx'
import { Ago } from '../../parts/time.tsx'
import { trpc } from '../../service.ts'
import { words } from '../../words/incidents.ts'
import { fromOf, type Period } from './period.ts'

/** A release of a client that loses its tokens stands out here. */
export function ByClient({ period }: { readonly period: Period }): ReactNode {
  const query = useQuery({
    queryKey: ['admin', 'incidents', 'byClient', period],
    queryFn: () => trpc.admin.incidents.byClient.query(fromOf(period)),
  })
  return (
    <Section title={words.byClient}>
      <p className="lead">{words.byClientLead}</p>
      <Answer query={query}>
        {({ items }) =>
          items.length === 0 ? (
            <Empty>{words.none}</Empty>
          ) : (
            <Table
              caption={words.byClient}
              rows={items}
              keyOf={({ userAgent }) => userAgent ?? ''}
              columns={[
                {
                  title: words.client,
                  isHeader: true,
                  cell: ({ userAgent }) => <Foreign text={userAgent} />,
                },
                {
                  title: words.count,
                  isNumber: true,
                  cell: ({ reuse, replaysElsewhere }) => formatNumber(reuse + replaysElsewhere),
                },
                {
                  title: words.people,
                  isNumber: true,
                  cell: ({ users }) => formatNumber(users),
                },
                {
                  title: words.likeTheClient,
                  isNumber: true,
                  cell: ({ likeTheClient, reuse, replaysElsewhere }) =>
                    formatShare(likeTheClient / (reuse + replaysElsewhere)),
                },
                {
                  title: words.medianBehind,
                  isNumber: true,
                  cell: ({ medianGenerationsBehind }) => formatNumber(medianGenerationsBehind),
                },
                { title: words.last, cell: ({ lastAt }) => <Ago at={lastAt} /> },
              ]}
            />
          )
        }
      </Answer>
    </Section>
  )
}
