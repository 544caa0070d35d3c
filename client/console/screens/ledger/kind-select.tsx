import type { ReactNode } from 'react'
import { Field } from '../../parts/field.tsx'
import { words } from '../../words/ledger.ts'
import { kindWords, type EventKind } from '../../words/session-terms.ts'

/** Empty: any kind. */
export type KindChoice = EventKind | ''

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
          {Object.entries(kindWords).map(([value, name]) => (
            <option key={value} value={value}>
              {name}
            </option>
          ))}
        </select>
      )}
    </Field>
  )
}
