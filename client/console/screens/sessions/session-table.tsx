import { Link } from '@tanstack/react-router'
import type { inferRouterOutputs } from '@trpc/server'
import type { ReactNode } from 'react'
import type { AppRouter } from '../../../trpc.ts'
import { Device } from '../../parts/device.tsx'
import { Foreign } from '../../parts/foreign.tsx'
import { personOf } from '../../parts/person.ts'
import { Status } from '../../parts/status.tsx'
import { Table, type Column } from '../../parts/table.tsx'
import { Ago, Time } from '../../parts/time.tsx'
import { words } from '../../words/sessions.ts'

export type SessionItem =
  inferRouterOutputs<AppRouter>['admin']['sessions']['list']['items'][number]

export function SessionTable({
  items,
  selected,
  select,
}: {
  readonly items: readonly SessionItem[]
  readonly selected: ReadonlySet<string>
  readonly select: (ids: ReadonlySet<string>) => void
}): ReactNode {
  const toggle = (familyId: string) => {
    const next = new Set(selected)
    if (!next.delete(familyId)) next.add(familyId)
    select(next)
  }
  const columns: Column<SessionItem>[] = [
    {
      title: words.select,
      isNarrow: true,
      cell: ({ familyId, status, ...user }) => (
        <input
          type="checkbox"
          aria-label={`${words.selectOne} ${personOf(user, words.erased)}`}
          disabled={status !== 'active'}
          checked={selected.has(familyId)}
          onChange={() => toggle(familyId)}
        />
      ),
    },
    {
      title: words.who,
      isHeader: true,
      cell: ({ familyId, ...user }) => (
        <Link to="/sessions/$familyId" params={{ familyId }} className="row-link">
          <Foreign text={personOf(user, words.erased)} />
        </Link>
      ),
    },
    { title: words.status, cell: ({ status }) => <Status status={status} /> },
    { title: words.device, cell: (session) => <Device {...session} /> },
    { title: words.address, cell: ({ ip }) => <Foreign text={ip} /> },
    { title: words.since, cell: ({ createdAt }) => <Time at={createdAt} /> },
    {
      title: words.lastUsed,
      cell: ({ createdAt, lastRotatedAt }) => <Ago at={lastRotatedAt ?? createdAt} />,
    },
  ]
  return (
    <Table
      caption={words.caption}
      columns={columns}
      rows={items}
      keyOf={({ familyId }) => familyId}
    />
  )
}
