import { useInfiniteQuery, useQuery } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import { formatDuration, formatNumber } from '../../format.ts'
import { Answer } from '../../parts/answer.tsx'
import { CopyButton } from '../../parts/copy.tsx'
import { pages, Pages } from '../../parts/more.tsx'
import { Section } from '../../parts/screen.tsx'
import { Empty } from '../../parts/states.tsx'
import { Table } from '../../parts/table.tsx'
import { Time } from '../../parts/time.tsx'
import { trpc } from '../../service.ts'
import { words } from '../../words/ledger.ts'

/** The signed checkpoints of the log, how far the log is behind, and why none is signed. */
export function Checkpoints(): ReactNode {
  const newest = useQuery({
    queryKey: ['admin', 'ledger', 'checkpoint'],
    queryFn: () => trpc.admin.ledger.checkpoint.query(),
  })
  return (
    <Section title={words.checkpoints}>
      <Answer query={newest}>
        {({ refusal, behindMs }) => (
          <>
            <p className="faint">
              {behindMs > 0 ? words.logBehind(formatDuration(behindMs)) : words.logComplete}
            </p>
            {refusal !== null && <p className="notice warn">{`${words.refusal} ${refusal}`}</p>}
          </>
        )}
      </Answer>
      <Signed />
    </Section>
  )
}

function Signed(): ReactNode {
  const query = useInfiniteQuery({
    ...pages,
    queryKey: ['admin', 'ledger', 'checkpoints'],
    queryFn: ({ pageParam }) =>
      trpc.admin.ledger.checkpoints.query({
        limit: 20,
        ...(pageParam !== undefined && { cursor: pageParam }),
      }),
  })
  return (
    <Pages query={query} empty={<Empty>{words.noCheckpoint}</Empty>}>
      {(checkpoints) => (
        <Table
          caption={words.checkpoints}
          rows={checkpoints}
          keyOf={({ note }) => note}
          columns={[
            {
              title: words.signedAt,
              isHeader: true,
              cell: ({ signedAt }) => <Time at={signedAt} />,
            },
            { title: words.size, isNumber: true, cell: ({ size }) => formatNumber(size) },
            { title: words.root, cell: ({ root }) => <code>{root}</code> },
            {
              title: words.note,
              cell: ({ note }) => <CopyButton text={note} what={words.note} />,
            },
          ]}
        />
      )}
    </Pages>
  )
}
