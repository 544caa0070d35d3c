import type { ReactNode } from 'react'
import { Field } from './field.tsx'

/** A password, by the name of its input in the form. */
export function PasswordField({
  label,
  hint,
  name,
  kind = 'current-password',
}: {
  readonly label: string
  readonly hint?: string
  readonly name: string
  readonly kind?: 'current-password' | 'new-password'
}): ReactNode {
  return (
    <Field label={label} hint={hint}>
      {(props) => <input {...props} name={name} type="password" autoComplete={kind} required />}
    </Field>
  )
}
