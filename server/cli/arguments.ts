import type { Period } from '../../db/audit/export.ts'
import { isSubject, subjectRule } from '../../db/subjects.ts'
import { uuid } from '../../db/uuid.ts'
import { canonicalEmail } from '../users/email.ts'
import { UsageError } from './command.ts'

/** @throws {UsageError} unless there is exactly one */
export function exactlyOne(positionals: readonly string[], what: string): string {
  const [one, ...more] = positionals
  if (one === undefined || more.length > 0) throw new UsageError(`expected one ${what}`)
  return one
}

export function emailOf(text: string): string {
  const email = canonicalEmail(text)
  if (email === null) throw new UsageError(`not a valid e-mail address: ${JSON.stringify(text)}`)
  return email
}

export function familyIdArgument(text: string): string {
  const id = text.toLowerCase()
  if (!uuid.test(id))
    throw new UsageError(`not a family id, which is a UUID: ${JSON.stringify(text)}`)
  return id
}

/** A user's id, as the user directory has it. */
export function subjectArgument(text: string): string {
  if (!isSubject(text)) throw new UsageError(`--user-id: ${subjectRule}`)
  return text
}

/** The user whom a command is about: an address, or an id of any user directory. */
export type Person = { readonly email: string } | { readonly subject: string }

/** @throws {UsageError} unless there is exactly one of the two */
export function personArgument(
  positionals: readonly string[],
  subject: string | undefined,
): Person {
  if (subject === undefined) return { email: emailOf(exactlyOne(positionals, 'e-mail address')) }
  if (positionals.length > 0)
    throw new UsageError('expected an e-mail address or --user-id, not both')
  return { subject: subjectArgument(subject) }
}

/** The reason that the audit trail records. */
export function reasonArgument(text: string | undefined): string {
  const reason = text?.trim() ?? ''
  if (reason === '' || reason.length > 500)
    throw new UsageError('--reason: must have 1 to 500 characters')
  return reason
}

/** A day (UTC) or an instant with its zone; epoch milliseconds. */
export function instantOf(text: string, option: string): number {
  const isPlain = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2}))?$/
  const at = isPlain.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isNaN(at))
    throw new UsageError(
      `${option}: must be a day or an instant, such as 2026-01-31 or 2026-01-31T09:00:00Z`,
    )
  const day = text.slice(0, 10)
  // Date accepts the 31st of every month and turns it into a day of the next.
  if (!new Date(day).toISOString().startsWith(day))
    throw new UsageError(`${option}: ${day} is not in the calendar`)
  return at
}

/** From `from` (included) to `to` (excluded); null is open. */
export function periodOf(from: string | undefined, to: string | undefined): Period {
  const fromAt = from === undefined ? null : instantOf(from, '--from')
  const toAt = to === undefined ? null : instantOf(to, '--to')
  if (fromAt !== null && toAt !== null && toAt <= fromAt)
    throw new UsageError('--to: must be later than --from')
  return { fromAt, toAt }
}
