import { AuthError } from '../errors.ts'
import type { Exceeded } from './counters.ts'

/** @param account names the account in the log, where the limit is one for sign-ins */
export function tooManyAttempts(over: readonly Exceeded[], account?: string): AuthError {
  const msLeft = Math.max(...over.map((one) => one.msLeft))
  const names = over.map(({ bound }) => bound.name).join(', ')
  return new AuthError('too_many_attempts', `over the limit: ${names}`, {
    retryAfterSeconds: Math.max(1, Math.ceil(msLeft / 1000)),
    accountHash: account,
  })
}
