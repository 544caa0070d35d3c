import { statusWords, type SessionStatus } from '../../words/session-terms.ts'

/** The filter, which is in the address of the screen: a reload keeps it, and other screens link to it. */
export type SessionSearch = {
  readonly person?: string
  readonly userId?: string
  readonly status?: SessionStatus
  readonly network?: string
  readonly device?: string
}

export const statuses = Object.keys(statusWords) as SessionStatus[]

/** Takes what it knows from an address that anyone may have written. */
export function readSessionSearch(given: Record<string, unknown>): SessionSearch {
  const texts = Object.fromEntries(
    ['person', 'userId', 'network', 'device'].flatMap((name) => {
      const value = given[name]
      // The router reads `network=10` as a number.
      const text = typeof value === 'number' ? String(value) : value
      return typeof text === 'string' && text.trim() !== '' ? [[name, text.trim()]] : []
    }),
  )
  const status = statuses.find((one) => one === given['status'])
  return { ...texts, ...(status !== undefined && { status }) }
}
