import { Link } from '@tanstack/react-router'
import type { Outputs } from '../../outputs.ts'
import { Foreign } from '../../parts/foreign.tsx'
import { personOf } from '../../parts/person.ts'
import { Kind } from '../../parts/kind.tsx'
import type { Column } from '../../parts/table.tsx'
import { Time } from '../../parts/time.tsx'
import { words } from '../../words/ledger.ts'

export type LedgerEvent = Outputs['admin']['ledger']['events']['items'][number]

/** Of the tail and of the search. */
export const eventColumns: readonly Column<LedgerEvent>[] = [
  { title: words.when, isHeader: true, cell: ({ occurredAt }) => <Time at={occurredAt} /> },
  { title: words.kind, cell: ({ kind }) => <Kind kind={kind} /> },
  { title: words.person, cell: (event) => <Foreign text={personOf(event, '')} /> },
  {
    title: words.session,
    cell: ({ familyId, seq }) => (
      <Link to="/sessions/$familyId" params={{ familyId }} title={familyId}>
        <code>{words.eventOf(familyId.slice(-8), seq)}</code>
      </Link>
    ),
  },
  { title: words.address, cell: ({ ip }) => <Foreign text={ip} /> },
  { title: words.program, cell: ({ userAgent }) => <Foreign text={userAgent} /> },
]
