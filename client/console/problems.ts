import { reasonOf as reasonIn } from '../trpc.ts'
import { AuthClientError } from '../index.ts'

export type Reason = AuthClientError['reason']

/** Asked again this often. Then the screen says that it failed, and leaves the next attempt to the reader. */
const maxRetries = 3
/** What the same question may not meet again. All other reasons are final. */
const passing: ReadonlySet<Reason> = new Set([
  'network_error',
  'timeout',
  'unreadable_answer',
  'service_unavailable',
  'internal_error',
  'too_many_attempts',
])

/** The service's reason, or the client's. A call without any has met a broken connection or a proxy's own page. */
export function reasonOf(error: unknown): Reason {
  if (error instanceof AuthClientError) return error.reason
  return reasonIn(error) ?? 'network_error'
}

/** Null unless the service has said when to ask again. */
export function retryAfterSecondsOf(error: unknown): number | null {
  const seconds = [error, fieldOf(error, 'cause'), fieldOf(error, 'data')]
    .map((one) => fieldOf(one, 'retryAfterSeconds'))
    .find((one) => typeof one === 'number')
  return seconds ?? null
}

/** `<familyId>:<seq>` of the event that ended the session; null where the error names none. */
export function incidentIdOf(error: unknown): string | null {
  const id = fieldOf(fieldOf(error, 'data'), 'incidentId') ?? fieldOf(error, 'incidentId')
  return typeof id === 'string' ? id : null
}

export function mayRetry(failures: number, error: unknown): boolean {
  return failures < maxRetries && mayPass(error)
}

/** False for a refusal, which the same question would meet again. */
export function mayPass(error: unknown): boolean {
  return passing.has(reasonOf(error))
}

/** 1, 2, 4 s, and at least as long as the service says. Each with up to as much again, so that screens do not ask together. */
export function retryDelayMs(failures: number, error: unknown): number {
  const ms = Math.max(retryAfterSecondsOf(error) ?? 0, 2 ** failures) * 1_000
  return ms * (1 + Math.random())
}

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null
    ? (value as Record<string, unknown>)[name]
    : undefined
}
