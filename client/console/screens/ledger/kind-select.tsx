import type { ReactNode } from 'react'
import { Field } from '../../parts/field.tsx'
import { words } from '../../words/ledger.ts'
import type { LedgerEvent } from './event-rows.tsx'

/** Empty: any kind. */
export type KindChoice = LedgerEvent['kind'] | ''

export function KindSelect({
  kind,
  choose,
}: {
  readonly kind: KindChoice
  readonly choose: (kind: KindChoice) => void
}): ReactNode {
  return (
    <Field label={words.kind}>
      {(props) => (
        <select
          {...props}
          value={kind}
          onChange={(event) => choose(event.currentTarget.value as KindChoice)}
        >
          <option value="">{words.anyKind}</option>
          {Object.entries(words.kinds).map(([value, name]) => (
            <option key={value} value={value}>
              {name}
            </option>
          ))}
        </select>
      )}
    </Field>
  )
}
