import { createHash } from 'node:crypto'
import { AuthError } from '../errors.ts'
import { normalPassword } from './password-rule.ts'

/**
 * Looks up leaked passwords by k-anonymity: gets the first 5 hex digits of a SHA-1 hash, in upper case, and
 * returns the other 35 digits of each leaked password whose hash begins with them.
 */
export type FindBreachedPasswords = (sha1Prefix: string) => Promise<Iterable<string>>

const prefixLength = 5

/** The caller waits for it, so it is shorter than the client's timeout of 10 s. */
const answerTimeoutMs = 3_000

/** @throws {AuthError} `service_unavailable` if `find` fails or does not answer in time */
export async function isBreachedPassword(
  password: string,
  find: FindBreachedPasswords,
  timeoutMs = answerTimeoutMs,
): Promise<boolean> {
  const hash = createHash('sha1')
    .update(normalPassword(password) ?? '')
    .digest('hex')
    .toUpperCase()
  const rest = hash.slice(prefixLength)
  for (const breached of await inTime(find(hash.slice(0, prefixLength)), timeoutMs))
    if (breached.toUpperCase() === rest) return true
  return false
}

async function inTime<T>(answer: Promise<T>, timeoutMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error('no answer in time')), timeoutMs)
  })
  try {
    return await Promise.race([answer, timeout])
  } catch {
    const detail = 'the look-up of breached passwords failed'
    throw new AuthError('service_unavailable', detail, { retryAfterSeconds: 5 })
  } finally {
    clearTimeout(timer)
  }
}
