import type { ReactNode } from 'react'
import { Field } from '../../parts/field.tsx'
import { words } from '../../words/ledger.ts'
import type { LedgerEvent } from './event-columns.tsx'
import { KindSelect, type KindChoice } from './kind-select.tsx'

export type Filter = { readonly kind: KindChoice; readonly text: string }

export const noFilter: Filter = { kind: '', text: '' }

export function acceptsOf({ kind, text }: Filter): (event: LedgerEvent) => boolean {
  const wanted = text.trim().toLowerCase()
  return (event) => {
    if (kind !== '' && event.kind !== kind) return false
    if (wanted === '') return true
    const { email, userId, familyId, ip, userAgent } = event
    return [email, userId, familyId, ip, userAgent].some(
      (value) => value?.toLowerCase().includes(wanted) ?? false,
    )
  }
}

/** What the tail shows. Events that were refused are found by the search. */
export function TailFilter({
  filter,
  change,
}: {
  readonly filter: Filter
  readonly change: (filter: Filter) => void
}): ReactNode {
  return (
    <div className="filters">
      <KindSelect kind={filter.kind} choose={(kind) => change({ ...filter, kind })} />
      <Field label={words.contains} hint={words.containsHint}>
        {(props) => (
          <input
            {...props}
            type="search"
            value={filter.text}
            maxLength={254}
            onChange={(event) => change({ ...filter, text: event.currentTarget.value })}
          />
        )}
      </Field>
    </div>
  )
}
