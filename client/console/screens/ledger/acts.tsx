import { useInfiniteQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import type { ReactNode } from 'react'
import type { Outputs } from '../../outputs.ts'
import { Foreign } from '../../parts/foreign.tsx'
import { pages, Pages } from '../../parts/more.tsx'
import { Screen, Section } from '../../parts/screen.tsx'
import { Empty } from '../../parts/states.tsx'
import { Table } from '../../parts/table.tsx'
import { Time } from '../../parts/time.tsx'
import { trpc } from '../../service.ts'
import { words } from '../../words/ledger.ts'
import { actionWords } from '../../words/session-terms.ts'
import { LedgerTabs } from './ledger-tabs.tsx'

type Act = Outputs['admin']['actions']['list']['items'][number]

/** What admins and the command line did, with the reasons that they gave. */
export function LedgerActs(): ReactNode {
  const query = useInfiniteQuery({
    ...pages,
    queryKey: ['admin', 'actions', 'list'],
    queryFn: ({ pageParam }) =>
      trpc.admin.actions.list.query(pageParam === undefined ? {} : { cursor: pageParam }),
  })
  return (
    <Screen title={words.admins}>
      <LedgerTabs />
      <Section title={words.admins}>
        <Pages query={query} empty={<Empty>{words.noActs}</Empty>}>
          {(acts) => (
            <Table
              caption={words.admins}
              rows={acts}
              keyOf={({ actionId }) => String(actionId)}
              columns={[
                {
                  title: words.when,
                  isHeader: true,
                  cell: ({ occurredAt }) => <Time at={occurredAt} />,
                },
                { title: words.by, cell: (act) => <Foreign text={actorOf(act)} /> },
                { title: words.act, cell: ({ action }) => actionWords[action] },
                { title: words.target, cell: (act) => <Target act={act} /> },
                { title: words.reason, cell: ({ reason }) => <Foreign text={reason} isWhole /> },
              ]}
            />
          )}
        </Pages>
      </Section>
    </Screen>
  )
}

function actorOf({ actorUserId, actorEmail }: Act): string {
  return actorUserId === null ? words.commandLine : (actorEmail ?? actorUserId)
}

function Target({
  act: { familyId, targetEmail, targetUserId },
}: {
  readonly act: Act
}): ReactNode {
  if (familyId === null) return <Foreign text={targetEmail ?? targetUserId} />
  return (
    <Link to="/sessions/$familyId" params={{ familyId }}>
      {words.session}
    </Link>
  )
}
