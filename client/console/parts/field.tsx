import { useId, type ReactNode } from 'react'

/** A label, its input, and what explains it. The input gets the props that tie them together. */
export function Field({
  label,
  hint,
  children,
}: {
  readonly label: string
  readonly hint?: ReactNode
  readonly children: (props: {
    readonly id: string
    readonly 'aria-describedby': string | undefined
  }) => ReactNode
}): ReactNode {
  const id = useId()
  const hintId = hint === undefined ? undefined : `${id}-hint`
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      {children({ id, 'aria-describedby': hintId })}
      {hintId !== undefined && (
        <p id={hintId} className="hint">
          {hint}
        </p>
      )}
    </div>
  )
}
