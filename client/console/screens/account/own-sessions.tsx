import { useInfiniteQuery } from '@tanstack/react-query'
import type { inferRouterOutputs } from '@trpc/server'
import { useState, type ReactNode } from 'react'
import type { AppRouter } from '../../../trpc.ts'
import { formatCount } from '../../format.ts'
import { askAgain } from '../../parts/ask-again.ts'
import { Badge } from '../../parts/badge.tsx'
import { Confirm } from '../../parts/confirm.tsx'
import { describeAgent, Device } from '../../parts/device.tsx'
import { Foreign } from '../../parts/foreign.tsx'
import { pages, Pages } from '../../parts/more.tsx'
import { Section } from '../../parts/screen.tsx'
import { Done, Empty } from '../../parts/states.tsx'
import { Table, type Column } from '../../parts/table.tsx'
import { Ago, Time } from '../../parts/time.tsx'
import { queryClient, trpc } from '../../service.ts'
import { words as common } from '../../words/common.ts'
import { words } from '../../words/account.ts'

type OwnSession = inferRouterOutputs<AppRouter>['sessions']['list']['items'][number]

export function OwnSessions(): ReactNode {
  const query = useInfiniteQuery({
    queryKey: ['sessions', 'list'],
    queryFn: ({ pageParam: cursor, signal }) => trpc.sessions.list.query({ cursor }, { signal }),
    ...pages,
  })
  const [ending, setEnding] = useState<OwnSession | 'others' | null>(null)
  const [done, setDone] = useState<string | null>(null)
  const close = () => setEnding(null)
  const after = async (message: string) => {
    setDone(message)
    await Promise.all(
      [['sessions'], ['account']].map((queryKey) => askAgain(queryClient, queryKey)),
    )
  }
  const endOthers = async () => {
    const { revoked } = await trpc.sessions.revokeOthers.mutate()
    const forms = { one: words.endedOne, other: words.endedOther }
    await after(formatCount(revoked, forms))
  }
  const columns: Column<OwnSession>[] = [
    {
      title: words.device,
      isHeader: true,
      cell: (session) => (
        <>
          <Device {...session} /> {session.isCurrent && <Badge tone="good">{words.thisOne}</Badge>}
        </>
      ),
    },
    { title: words.network, cell: ({ ip }) => <Foreign text={ip} /> },
    { title: words.since, cell: ({ createdAt }) => <Time at={createdAt} /> },
    {
      title: words.lastUsed,
      cell: ({ createdAt, lastRotatedAt }) => <Ago at={lastRotatedAt ?? createdAt} />,
    },
    {
      title: words.actions,
      cell: (session) =>
        session.isCurrent ? (
          common.none
        ) : (
          <button
            type="button"
            className="quiet small"
            aria-label={`${words.end} ${nameOf(session)}`}
            onClick={() => setEnding(session)}
          >
            {words.end}
          </button>
        ),
    },
  ]
  const hasOthers = (query.data?.pages[0]?.items.length ?? 0) > 1
  return (
    <Section
      title={words.sessions}
      actions={
        hasOthers && (
          <button type="button" className="quiet" onClick={() => setEnding('others')}>
            {words.endOthers}
          </button>
        )
      }
    >
      {done !== null && <Done>{done}</Done>}
      <Pages query={query} empty={<Empty>{words.noSessions}</Empty>}>
        {(items) => (
          <Table
            caption={words.sessionsCaption}
            columns={columns}
            rows={items}
            keyOf={({ familyId }) => familyId}
          />
        )}
      </Pages>
      {ending === 'others' && (
        <Confirm
          title={words.endOthersTitle}
          verb={words.endOthers}
          act={endOthers}
          onClose={close}
        >
          <p>{words.endOthersText}</p>
        </Confirm>
      )}
      {ending !== null && ending !== 'others' && (
        <Confirm
          title={words.endTitle}
          verb={words.end}
          act={async () => {
            await trpc.sessions.revoke.mutate({ familyId: ending.familyId })
            await after(words.ended)
          }}
          onClose={close}
        >
          <p>
            <Foreign text={nameOf(ending)} isWhole />
          </p>
          <p>{words.endText}</p>
        </Confirm>
      )}
    </Section>
  )
}

function nameOf({ deviceName, userAgent }: OwnSession): string {
  return deviceName ?? describeAgent(userAgent) ?? common.unknown
}
