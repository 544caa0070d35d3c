import { invalid } from '../errors.ts'
import { isBreachedPassword } from '../users/breached-passwords.ts'
import { passwordProblem } from '../users/passwords.ts'
import type { ServiceDeps } from './deps.ts'

/** A password that a caller chose, the input field that holds it, and the account that it is for. */
type NewPassword = {
  readonly field: 'password' | 'newPassword'
  readonly password: string
  readonly email: string
}

/** @throws {AuthError} `validation_failed` */
export function mustFollowRule(
  { config }: ServiceDeps,
  { field, password, email }: NewPassword,
): void {
  const problem = passwordProblem(password, { minLength: config.passwordMinLength, email })
  if (problem !== null) throw invalid(`${field}: ${problem}`)
}

/**
 * Asks the look-up of breached passwords, if there is one. Call it after the limits, because each call may be a
 * request to another host.
 *
 * @throws {AuthError} `validation_failed`, or `service_unavailable` if the look-up fails
 */
export async function mustNotBeBreached(
  { findBreachedPasswords }: ServiceDeps,
  { field, password }: Omit<NewPassword, 'email'>,
): Promise<void> {
  if (findBreachedPasswords === undefined) return
  if (await isBreachedPassword(password, findBreachedPasswords))
    throw invalid(`${field}: The password is in a list of leaked passwords.`)
}
