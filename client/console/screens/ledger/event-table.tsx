import { Link } from '@tanstack/react-router'
import type { ReactNode } from 'react'
import { Badge, type Tone } from '../../parts/badge.tsx'
import { Foreign } from '../../parts/foreign.tsx'
import { Table } from '../../parts/table.tsx'
import { Time } from '../../parts/time.tsx'
import { words } from '../../words/ledger.ts'
import type { LedgerEvent } from './event-rows.tsx'

const tones = {
  issued: 'good',
  rotated: 'plain',
  replayed: 'warn',
  reuse_detected: 'bad',
  revoked: 'bad',
} as const satisfies Record<LedgerEvent['kind'], Tone>

export function KindBadge({ kind }: { readonly kind: LedgerEvent['kind'] }): ReactNode {
  return <Badge tone={tones[kind]}>{words.kinds[kind]}</Badge>
}

export function SessionLink({ event }: { readonly event: LedgerEvent }): ReactNode {
  const { familyId, seq } = event
  return (
    <Link to="/sessions/$familyId" params={{ familyId }} preload={false} title={familyId}>
      <code>{words.eventOf(familyId.slice(-8), seq)}</code>
    </Link>
  )
}

export function EventTable({ events }: { readonly events: readonly LedgerEvent[] }): ReactNode {
  return (
    <Table
      caption={words.events}
      rows={events}
      keyOf={({ position }) => position}
      columns={[
        {
          title: words.when,
          isHeader: true,
          cell: ({ occurredAt }) => <Time at={occurredAt} />,
        },
        { title: words.kind, cell: ({ kind }) => <KindBadge kind={kind} /> },
        { title: words.person, cell: ({ email }) => <Foreign text={email} /> },
        { title: words.session, cell: (event) => <SessionLink event={event} /> },
        { title: words.from, cell: ({ ip }) => <Foreign text={ip} /> },
        { title: words.program, cell: ({ userAgent }) => <Foreign text={userAgent} /> },
      ]}
    />
  )
}
